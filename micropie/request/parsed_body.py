"""What a request brings in its body, as its media type says: the fields of a form, JSON, files, or bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from micropie.exceptions import HTTPError
from micropie.types import Message, Receive

from .body import (
    NOTHING,
    Body,
    Limits,
    begin,
    check_length,
    form_charset,
    has_body,
    is_json,
    media_type,
    parse_form,
    parse_json,
    parse_pairs,
)
from .uploads import MultipartForm


class Contents:
    """The contents of one request, as far as they have been read.

    Args:
        method: The HTTP method.
        fields: The header fields.
        receive: The server's ``receive``.
        limits: What the body may cost.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_done",
        "_error",
        "_expected",
        "_headers",
        "_limits",
        "_receive",
        "fields",
        "files",
        "form",
        "json",
    )

    def __init__(self, method: str, fields: Mapping[bytes, bytes], receive: Receive, limits: Limits) -> None:
        self._expected = method == "POST" or has_body(method, fields)
        self._headers = fields
        self._receive = receive
        self._limits = limits
        # The first message of the body, or what to await for it; and the body, once somebody asks for it.
        self._arrived: dict[str, Any] | Awaitable[Message] | None = None
        self._body: Body | None = None
        # Whether it was read as its media type says, and what was wrong with it, as status and detail.
        self._done = False
        self._error: tuple[int, str] | None = None
        #: Each is None, or nothing, until it is read, or somebody looks or sets it.
        self.fields: dict[str, list[str]] | None = None
        self.files: dict[str, dict[str, Any]] | None = None
        self.form: MultipartForm | None = None
        self.json: Any = NOTHING

    @property
    def body(self) -> Body:
        """The body as bytes."""
        if self._body is None:
            self._body = Body(
                self._receive,
                self._limits,
                self._headers.get(b"content-length"),
                first=self._arrived,
                expected=self._expected,
            )
        return self._body

    async def read(self) -> MultipartForm | None:
        """Read what the media type says how to read.  A second call comes to the same.

        Returns:
            A multipart form, which is read while it comes in; None for all else.

        Raises:
            HTTPError: 400, 408 or 413, for a body that is wrong, too slow or too large.
        """
        if self._error is not None:
            raise HTTPError(*self._error)
        if not self._expected or self._done:
            return self.form
        # A longer text isn't a media type, and would fill the cache.
        kind, parameters = media_type(self._headers.get(b"content-type", b"")[:1024])
        try:
            if kind == "application/x-www-form-urlencoded":
                data = self._at_once()
                if data is None:
                    data = await self.body.read()
                charset = "utf-8"
                if parameters or b"_charset_=" in data:
                    charset = form_charset(data, parameters)
                if charset == "utf-8" and len(data) <= self._limits.small and data.isascii():
                    self.fields = parse_pairs(data, "form")
                else:
                    self.fields = await parse_form(data, self._limits, charset)
            elif kind == "application/json" or is_json(kind):  # PERF: a call less
                data = self._at_once()
                self.json = parse_json(await self.body.read() if data is None else data, self._limits)
            elif kind == "multipart/form-data":
                self.form = MultipartForm(self.body, parameters, self._limits)
                self.fields, self.files = self.form.fields, self.form.files
        except HTTPError as error:
            self._error = error.status, error.detail
            raise
        self._done = True
        return self.form

    def check(self) -> None:
        """Raise what was wrong with the body.

        Raises:
            HTTPError: As :meth:`read`.
        """
        if self._error is not None:
            raise HTTPError(*self._error)

    def _at_once(self) -> bytes | None:
        """The whole body if it is there already, in one message, as most are; a :class:`Body` reads the others.

        Raises:
            HTTPError: As :func:`check_length`.
        """
        if self._body is not None:  # a hook has asked for it
            return None
        limit = self._limits.body
        check_length(self._headers.get(b"content-length"), limit)
        self._arrived = first = begin(self._receive)
        if isinstance(first, dict) and first["type"] == "http.request" and not first.get("more_body"):
            data: bytes = first.get("body", b"")
            if limit is None or len(data) <= limit:
                return data
        return None

    def values(self, name: str) -> list[Any] | None:
        """Every value that came under a name; None if there is none."""
        values: list[Any] | None = None if self.fields is None else self.fields.get(name)
        if values:
            return values
        if isinstance(self.json, dict) and name in self.json:
            return [self.json[name]]
        return self.uploads(name)

    def uploads(self, name: str) -> list[dict[str, Any]] | None:
        """Every file that came under a name, even an input that was left empty; None if there is none."""
        if self.form is not None and name in self.form.all_files:
            return self.form.all_files[name]
        return [self.files[name]] if self.files and name in self.files else None

    def names(self) -> list[str]:
        """The names under which something came."""
        keys = self.json if isinstance(self.json, dict) else ()
        return [*(self.fields or ()), *keys, *(self.files or ())]
