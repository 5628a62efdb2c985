"""Multipart forms: fields and files, while they come in; needs the extra ``forms``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .bodies import Body, Limits, check_limit
from .exceptions import HTTPError, MultipartFileError

logger = logging.getLogger("micropie")

if TYPE_CHECKING:
    from tempfile import SpooledTemporaryFile

    from multipart import MultipartSegment, PushMultipartParser

#: How many pieces of a file wait in its queue before the socket is read no further.
_QUEUED = 16
#: A spooled file up to this size stays in memory, in bytes.
_IN_MEMORY = 256 * 1024
_PIECE = 64 * 1024


class FileQueue(asyncio.Queue[bytes | None]):
    """The content of an uploaded file: ``bytes`` until None, which then stays.

    It is bounded: a handler that reads slowly slows the client down.  A file that came before a form
    field on which the handler waited lies in a temporary file instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self._room = asyncio.Event()
        self._flood = False
        self._spool: SpooledTemporaryFile[bytes] | None = None
        self._error: Exception | None = None
        self._at_end = False

    @property
    def maxsize(self) -> int:
        """How many pieces wait here before the socket is read no further."""
        return _QUEUED

    async def add(self, piece: bytes) -> None:
        """Put a piece in once there is room."""
        while self.qsize() >= _QUEUED and not self._flood:
            self._room.clear()
            await self._room.wait()
        self.put_nowait(piece)

    def flood(self) -> None:
        """Take the rest without waiting, so that somebody else can hear of the client; the body is limited."""
        self._flood = True
        self._room.set()

    def get_nowait(self) -> bytes | None:
        """The next piece, or None at the end; ``get()`` waits for it and then calls this.

        Raises:
            asyncio.QueueEmpty: If there is none yet.
            MultipartFileError: If the client cut the file short.
        """
        if self._at_end:
            self.put_nowait(None)  # for another task that waits
            return None
        piece = super().get_nowait() if self._spool is None else self._spool.read(_PIECE) or None
        self._room.set()
        if piece is None:
            self._at_end = True
            self.close()
            self.put_nowait(None)
            if self._error is not None:
                raise MultipartFileError(self._error)
        return piece

    def empty(self) -> bool:
        """Whether a piece has to be waited for."""
        return super().empty() and self._spool is None and not self._at_end

    def spool(self, piece: bytes) -> None:
        """Keep a piece in a temporary file, without a bound."""
        if self._spool is None:
            import tempfile  # with shutil and its kin, which every other program would pay for at its start

            self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # close() does
        self._spool.write(piece)

    def finish(self, error: Exception | None = None) -> None:
        """End the file, in good order or not."""
        self._error = error
        if self._spool is not None and error is None:
            self._spool.seek(0)
        else:
            self.close()
            self.put_nowait(None)

    def abort(self) -> None:
        """Stop here: the handler has ended.  Whoever still reads gets an error."""
        if not self._at_end:
            self._error = self._error or HTTPError(400, "nobody reads the file any more")
            self.close()
            while not self.empty():
                super().get_nowait()
            self.put_nowait(None)

    def close(self) -> None:
        """Remove the temporary file."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None


class MultipartForm:
    """A multipart form: what has come in so far, and a way to wait for more.

    A task reads the body.  While something in the form is still waited for, files go to temporary files,
    so that the order of the parts never matters; afterwards they go through their queues.

    Args:
        body: The body to read.
        parameters: The parameters of its media type, with the boundary.
        limits: What it may cost.

    Raises:
        HTTPError: 400 if there is no usable boundary.
        RuntimeError: If ``multipart`` is not installed.
    """

    def __init__(self, body: Body, parameters: str, limits: Limits) -> None:
        self.fields: dict[str, list[str]] = {}
        #: The first file of each name, and all of them.
        self.files: dict[str, dict[str, Any]] = {}
        self.all_files: dict[str, list[dict[str, Any]]] = {}
        self._parser = _make_parser(parameters)
        self._body = body
        self._limits = limits
        self._parts = 0
        self._flood = False
        self._field: tuple[str, bytearray] | None = None
        self._file: FileQueue | None = None
        self._queues: list[FileQueue] = []
        # What somebody waits for; None is the end of the form.
        self._wanted: set[str | None] = {None}
        self._arrived = asyncio.Event()
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def wait_for(self, names: Collection[str | None]) -> None:
        """Wait until all of these fields and files have come in, and a file comes in now, or the form has ended.

        Raises:
            HTTPError: As :meth:`Body.chunks`; 400 if the form is malformed.
        """
        self._wanted = {name for name in names if name not in self.fields and name not in self.files}
        if self._task is None:
            self._task = asyncio.create_task(self._read())
        if self._wanted and not self._task.done():
            self._arrived.clear()
            await self._arrived.wait()
        if self._error is not None:
            raise self._error

    async def ended(self) -> None:
        """Wait until the body is read to its end, also if nobody reads a file of it any more."""
        self._flood = True
        if self._file is not None:
            self._file.flood()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop reading; a file of which somebody still reads ends with an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if self._error is not None:
                self._error.__traceback__ = None  # it holds this form, whose files hold the error
            self._task = self._error = None  # the context of the task holds the request
        for queue in self._queues:
            queue.abort()

    async def _read(self) -> None:
        try:
            async for chunk in self._body.chunks():
                for event in self._parser.parse(chunk):
                    await self._handle(event)
            self._parser.close()
        except ValueError as error:  # what multipart raises for malformed input
            error.__traceback__ = None  # it holds the parser, which keeps the error
            self._end(HTTPError(400, "the multipart form is malformed or not complete"))
        except Exception as error:
            if not isinstance(error, HTTPError):
                logger.exception("an upload could not be read")
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._error = error
        self._wanted.clear()
        self._arrived.set()
        if self._file is not None:
            self._file.finish(error)

    async def _handle(self, event: MultipartSegment | bytes | None) -> None:
        if event is None:
            await self._end_part()
        elif isinstance(event, (bytes, bytearray)):
            await self._add(bytes(event))
        else:
            self._begin_part(event)

    def _begin_part(self, segment: MultipartSegment) -> None:
        self._parts += 1
        check_limit(self._parts, self._limits.parts, "the form has more parts")
        if segment.filename is None:
            self._field = segment.name, bytearray()
            return
        self._file = FileQueue()
        if self._flood:
            self._file.flood()
        self._queues.append(self._file)
        upload = {
            "filename": segment.filename,
            "content_type": segment.content_type or "application/octet-stream",
            "content": self._file,
        }
        self.files.setdefault(segment.name, upload)
        self.all_files.setdefault(segment.name, []).append(upload)
        self._note(segment.name)

    async def _add(self, piece: bytes) -> None:
        if self._field is not None:
            value = self._field[1]
            value += piece
            check_limit(len(value), self._limits.field, "a form field has more bytes")
        elif self._file is not None:
            if self._wanted:
                self._file.spool(piece)
            else:
                await self._file.add(piece)

    async def _end_part(self) -> None:
        if self._field is not None:
            name, value = self._field
            self._field = None
            self.fields.setdefault(name, []).append(value.decode(errors="replace"))
            self._note(name)
        elif self._file is not None:
            file, self._file = self._file, None
            file.finish()

    def _note(self, name: str) -> None:
        self._wanted.discard(name)
        # Only a file can be handed on while it comes in: a form that ends without one is never seen in part.
        if not self._wanted and self._file is not None:
            self._arrived.set()


def _make_parser(parameters: str) -> PushMultipartParser:
    try:
        from multipart import PushMultipartParser, parse_options_header
    except ImportError:
        raise RuntimeError(
            "multipart forms need the package multipart: install micropie with the extra 'forms'"
        ) from None
    _, options = parse_options_header("multipart/form-data; " + parameters)
    boundary = options.get("boundary", "")
    try:
        return PushMultipartParser(boundary, max_header_count=16)
    except (ValueError, AssertionError):
        raise HTTPError(400, "the multipart form has no boundary") from None
