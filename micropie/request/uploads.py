"""Multipart forms and their files, while they come in; reading one needs the extra ``forms``."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from micropie.concurrency import threads_exist
from micropie.exceptions import HTTPError, MultipartFileError

from .body import Body, Limits, check_limit, decode_text, parse_parameters

__all__ = ["Upload"]

logger: logging.Logger = logging.getLogger("micropie")

if TYPE_CHECKING:
    from tempfile import SpooledTemporaryFile

    from multipart import MultipartSegment, PushMultipartParser

#: How many pieces of a file wait in its queue before the socket is read no further.
_QUEUED = 16
#: Pieces smaller than this are joined to one of up to so many bytes: a queue of tiny ones would take a multiple of
#: their size.
_TINY, _JOINED = 512, 4096
#: What of a form is put aside stays in memory up to this size, in bytes.
_IN_MEMORY = 256 * 1024
_PIECE = 64 * 1024


class Spool:
    """What of a form is put aside, one file behind the other: a single temporary file, however many they are."""

    def __init__(self) -> None:
        self._file: SpooledTemporaryFile[bytes] | None = None
        self._size = 0
        # A sync handler reads in its thread, and may still do so when its client has left.
        self._lock = threading.Lock()

    def write(self, piece: bytes) -> int:
        """Put a piece behind all others, and return where it begins."""
        with self._lock:
            if self._file is None:
                import tempfile  # with shutil and its kin, which every other program would pay for at its start

                self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # close() does
            self._file.seek(self._size)
            self._file.write(piece)
            start, self._size = self._size, self._size + len(piece)
            return start

    def read(self, start: int, size: int) -> bytes:
        """So many bytes from a place on.

        Raises:
            ValueError: If the spool is closed.
        """
        with self._lock:
            if self._file is None:
                raise ValueError("the request is over, and its files are gone")
            self._file.seek(start)
            return self._file.read(size)

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is None:
            return
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


class FileQueue(asyncio.Queue[bytes | None]):
    """The content of an uploaded file: ``bytes`` until None, which then stays.

    It is bounded: a handler that reads slowly slows the client down.  What comes in while the handler waits for
    something else of the form lies in the form's spool instead.
    """

    def __init__(self, spool: Spool) -> None:
        super().__init__()
        self._pieces: deque[bytes | bytearray] = deque()
        self._spool = spool
        # Where in the spool the unread rest begins and ends, if it lies there; and where all of it began.
        self._start = self._end = self._begin = 0
        #: How many bytes have come in, and how many of them lie in the spool.
        self.received: int = 0
        self._spooled = 0
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._error: Exception | None = None
        #: Whether no more of it comes in.
        self.finished: bool = False

    @property
    def maxsize(self) -> int:
        """How many pieces wait here before the socket is read no further."""
        return _QUEUED

    def qsize(self) -> int:
        """How many pieces wait here."""
        return len(self._pieces) + -(-(self._end - self._start) // _PIECE)

    def empty(self) -> bool:
        """Whether a piece has to be waited for."""
        return self._consumed() and not self.finished

    def full(self) -> bool:
        """Whether the socket is read no further."""
        return len(self._pieces) >= _QUEUED

    async def get(self) -> bytes | None:
        """The next piece, or None at the end.

        Raises:
            MultipartFileError: If the client cut the file short.
        """
        while self.empty():
            self._more.clear()
            await self._more.wait()
        return self.get_nowait()

    def get_nowait(self) -> bytes | None:
        """The next piece if it is there, or None at the end.

        Raises:
            asyncio.QueueEmpty: If there is none yet.
            MultipartFileError: If the client cut the file short.
        """
        if self._pieces:
            piece = self._pieces.popleft()
            self._room.set()
            return bytes(piece)
        if self._start < self._end:
            found = self._spool.read(self._start, min(_PIECE, self._end - self._start))
            self._start += len(found)
            return found
        if not self.finished:
            raise asyncio.QueueEmpty
        if self._error is not None:
            error, self._error = self._error, None
            raise MultipartFileError(error)
        return None

    async def room(self) -> None:
        """Wait until a piece was taken, or :meth:`wake` is called."""
        self._room.clear()
        await self._room.wait()

    def wake(self) -> None:
        """Wake the tasks that wait for room."""
        self._room.set()

    def add(self, piece: bytes) -> None:
        """Put a piece in."""
        self.received += len(piece)
        last = self._pieces[-1] if self._pieces else None
        if len(piece) >= _TINY:
            self._pieces.append(piece)
        elif isinstance(last, bytearray) and len(last) < _JOINED:
            last += piece
        else:
            self._pieces.append(bytearray(piece))
        self._more.set()

    def spool(self, piece: bytes) -> None:
        """Put a piece, and all that waits here, aside, without a bound."""
        self.received += len(piece)
        while self._pieces:  # only of the file that comes in now, so that it lies together
            self._set_aside(bytes(self._pieces.popleft()))
        self._set_aside(piece)
        self._more.set()

    def _set_aside(self, piece: bytes) -> None:
        start = self._spool.write(piece)
        if not self._spooled:
            self._begin = start
        if self._start == self._end:
            self._start = start
        self._end = start + len(piece)
        self._spooled += len(piece)

    def view(self) -> io.BufferedReader | None:
        """All of it as a file that can be read again and again; None unless it is whole and nobody has read of it.

        Raises:
            MultipartFileError: If the client cut the file short.
        """
        if self._error is not None:
            raise MultipartFileError(self._error)
        if not self.finished:
            return None
        while self._pieces:
            self._set_aside(bytes(self._pieces.popleft()))
        whole = self._spooled == self.received
        return io.BufferedReader(_View(self._spool, self._begin, self.received)) if whole else None

    def finish(self, error: Exception | None = None) -> None:
        """End the file, in good order or not."""
        if not self.finished:
            self.finished, self._error = True, error
            self._more.set()

    def abort(self) -> None:
        """Stop here: the handler has ended.  A task that still reads gets an error."""
        if not self.finished or not self._consumed():
            self._error = self._error or HTTPError(400, "nobody reads the file any more")
            self._pieces.clear()
            self._start = self._end = 0
            self.finished = True
            self._more.set()

    def _consumed(self) -> bool:
        return not self._pieces and self._start == self._end


class _View(io.RawIOBase):
    """A part of a spool as a file."""

    def __init__(self, spool: Spool, begin: int, size: int) -> None:
        super().__init__()
        self._spool = spool
        self._begin = begin
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError(f"a position of {position} is before the beginning of the file")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._size - self._position))
        piece = self._spool.read(self._begin + self._position, size) if size else b""
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class Upload:
    """An uploaded file: ``async def photo(self, photo: Upload)``.

    A parameter with this annotation takes a file of a multipart form.  Text under its name gets a 400.  A file input
    that the visitor left empty counts as missing: the parameter gets its default, or None for ``Upload | None``.
    ``list[Upload]`` takes all files of that name, and an input that was left empty adds none to it.

    An ``async`` handler reads the file while it comes in, with :meth:`read`, :meth:`save` or
    ``async for piece in upload``.  If it reads slowly, the client has to wait.  A ``def`` handler runs once the whole
    form is there, and reads it with ``for piece in upload`` or :attr:`file`.

    Attributes:
        filename: The name that the client gave the file.  Never use it as a path.
        content_type: The media type that the client gave it, with its parameters, or ``application/octet-stream``
            if it gave none, or one that no header can hold.
    """

    __slots__ = ("_content", "_failed", "_file", "_rest", "content_type", "filename")

    def __init__(self, filename: str, content_type: str, content: FileQueue) -> None:
        self.filename: str = filename
        self.content_type: str = content_type
        self._content = content
        # What was received and not yet given out; why the file is not whole; and the file as a file.
        self._rest = b""
        self._failed: MultipartFileError | None = None
        self._file: io.BufferedReader | None = None

    def __repr__(self) -> str:
        return f"<Upload {self.filename!r} {self.content_type}>"

    async def read(self, n: int = -1) -> bytes:
        """The next bytes, or all that are left.

        Only one task may read at a time.  If it is cancelled, as by :func:`asyncio.timeout`, no bytes are lost.

        Args:
            n: How many bytes.  You get fewer only at the end of the file.  If it is negative, you get all.

        Raises:
            MultipartFileError: If the client cut the file short, or it broke a limit.
        """
        found = io.BytesIO()
        try:
            while n < 0 or found.tell() < n:
                piece = await self._next()
                if piece is None:
                    break
                if n >= 0:
                    fits = n - found.tell()
                    piece, self._rest = piece[:fits], piece[fits:]
                found.write(piece)
        except BaseException:
            self._rest = found.getvalue() + self._rest
            raise
        return found.getvalue()

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Write the rest of the file to a path, without holding up the event loop.

        The file has another name, in the same folder, until it is complete.  So the path never holds half a file.

        Args:
            path: The path of the new file.  An existing file is replaced.  Never take it from :attr:`filename`.

        Returns:
            How many bytes were written.

        Raises:
            MultipartFileError: If the client cut the file short, or it broke a limit.
            OSError: If it cannot be written.
        """
        target = Path(path)
        partial = target.with_name(f".{secrets.token_hex(8)}.part")
        size = 0
        try:
            with partial.open("xb") as file:  # it does not block; what writes does
                while (piece := await self._next()) is not None:
                    size += (
                        await asyncio.to_thread(file.write, piece) if threads_exist() else file.write(piece)
                    )
            partial.replace(target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        return size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._next()) is not None:
            yield piece

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._next_now()) is not None:
            yield piece

    @property
    def file(self) -> io.BufferedReader:
        """The whole file as a binary file object, which you can read, seek in and pass to a library.

        You can use it in a ``def`` handler, and in an ``async`` one after ``await request.read_form()``.  It is closed
        at the end of the request.

        Raises:
            RuntimeError: If the file is still coming in, or a part of it has been read already.
            MultipartFileError: If the client cut the file short, or it broke a limit.
        """
        if self._file is None:
            self._file = self._content.view()
            if self._file is None:
                raise self._misuse()
        return self._file

    async def _next(self) -> bytes | None:
        if self._rest:
            piece, self._rest = self._rest, b""
            return piece
        if self._failed is not None:
            raise MultipartFileError(self._failed.cause)
        try:
            return await self._content.get()
        except MultipartFileError as error:
            self._failed = MultipartFileError(error.cause)
            raise

    def _next_now(self) -> bytes | None:
        if not self._content.finished:
            raise self._misuse()
        step = self._next()  # waits for nothing
        try:
            step.send(None)
        except StopIteration as end:
            piece: bytes | None = end.value
            return piece
        raise self._misuse()

    def _misuse(self) -> RuntimeError:
        return RuntimeError(
            f"{self!r} is still coming in, or was read: in an async handler write 'await upload.read()' or "
            "'async for piece in upload', or wait for all of it with 'await self.request.read_form()' before"
        )


def as_upload(value: Any) -> Upload:
    """The file of a form as an :class:`Upload`.

    Raises:
        TypeError: For anything else.
    """
    content = value["content"] if isinstance(value, dict) and "content" in value else None
    if not isinstance(content, FileQueue):  # JSON has dicts, too
        raise TypeError
    return Upload(value["filename"], value["content_type"], content)


def is_blank(value: Any) -> bool:
    """Whether it is a file input that was left empty."""
    content = value["content"] if isinstance(value, dict) and "content" in value else None
    return isinstance(content, FileQueue) and not value["filename"] and not content.received


class MultipartForm:
    """A multipart form: what has come in so far, and ways to wait for more.

    Hooks read it themselves, as far as they need it; for a handler, a task does.  While something in the form is
    still waited for, files are put aside, so that the order of the parts never matters; afterwards they go through
    their queues.

    Args:
        body: The body to read.
        parameters: The parameters of its media type, the boundary among them.
        limits: What it may cost.
    """

    def __init__(self, body: Body, parameters: Mapping[str, str], limits: Limits) -> None:
        self.fields: dict[str, list[str]] = {}
        #: The first file of each name, and all of them.
        self.files: dict[str, dict[str, Any]] = {}
        self.all_files: dict[str, list[dict[str, Any]]] = {}
        self._boundary = parameters.get("boundary", "")
        # What fields without a charset of their own are in.
        self._charset = parameters.get("charset", "utf-8")
        self._parser: PushMultipartParser | None = None
        # What of a piece is still to be handled, and how much of the body was parsed.
        self._events: Iterator[MultipartSegment | bytes | None] = iter(())
        self._parsed = 0
        self._body = body
        self._limits = limits
        self._parts = 0
        # Name, charset and value of the field that comes in; or the file.
        self._field: tuple[str, str, bytearray] | None = None
        self._file: FileQueue | None = None
        self._unnamed: tuple[str, dict[str, Any]] | None = None
        self._spool = Spool()
        self._queues: list[FileQueue] = []
        # What somebody waits for, where None is the end of the form; and whether files are put aside.
        self._wanted: set[str | None] = set()
        self._aside = True
        self._arrived = asyncio.Event()
        self._over = False
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def wait_for(self, names: Collection[str | None]) -> None:
        """Read on by a task; wait until all of these have come in, and a file comes in now, or the form has ended.

        Raises:
            HTTPError: As :meth:`Body.read`; 400 if the form is malformed.
        """
        self._want(names)
        if not self._wanted and self._file is not None:
            self._aside = False
        if self._task is None and not self._over:
            self._task = asyncio.create_task(self._read(keep=False))
        while self._aside and not self._over:
            self._arrived.clear()
            await self._arrived.wait()
        if self._error is not None:
            raise self._error

    async def read_until(self, names: Collection[str]) -> None:
        """Read until all of these have come in, or the form has ended.

        Raises:
            HTTPError: As :meth:`wait_for`.
        """
        self._want(names or (None,))
        while self._wanted and not self._over:
            if self._task is None:
                await self._read(keep=True)
            else:
                self._arrived.clear()
                await self._arrived.wait()
        if self._error is not None:
            raise self._error

    def _want(self, names: Collection[str | None]) -> None:
        if not self._over:
            self._aside = True
            self._wanted.update(name for name in names if name not in self.fields and name not in self.files)
            if self._file is not None:
                self._file.wake()

    async def ended(self) -> None:
        """Wait until the body is read to its end, also if nobody reads a file of it any more."""
        self._want((None,))
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop reading; a file of which somebody still reads ends with an error."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None  # its context holds the request
        if self._error is not None:
            self._error.__traceback__ = None  # it holds this form, whose files hold the error
            self._error = None
        for queue in self._queues:
            queue.abort()
        self._spool.close()

    async def _read(self, *, keep: bool) -> None:
        """Read on, to the end or, if the body has to be kept, until nothing is waited for."""
        try:
            while True:
                for event in self._events:
                    await self._handle(event)
                    if keep and not self._wanted:
                        return
                if not keep:
                    self._body.let_go(self._parsed)
                piece = await self._body.piece_at(self._parsed)
                if not piece:
                    break
                if self._parser is None:
                    self._parser = _make_parser(self._boundary)
                self._parsed += len(piece)
                self._events = self._parser.parse(piece)
            if self._parser is not None:  # no body at all is no form
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
        self._over, self._error = True, error
        self._wanted.clear()
        self._arrived.set()
        if self._file is not None:
            self._file.finish(error)

    async def _handle(self, event: MultipartSegment | bytes | None) -> None:
        if event is None:
            self._end_part()
        elif isinstance(event, (bytes, bytearray)):
            for start in range(0, len(event), _PIECE):
                await self._add(bytes(event[start : start + _PIECE]))
        else:
            self._begin_part(event)

    def _begin_part(self, segment: MultipartSegment) -> None:
        self._parts += 1
        check_limit(self._parts, self._limits.parts, "the form has more parts")
        name, filename = _names(segment)
        encoding = segment.header("Content-Transfer-Encoding", "binary").lower()
        if encoding not in ("7bit", "8bit", "binary"):
            raise HTTPError(
                400, "a part of the form has a Content-Transfer-Encoding, which forms have no more"
            )
        if filename is None:
            self._field = name, segment.charset or self._charset, bytearray()
            return
        self._file = FileQueue(self._spool)
        self._queues.append(self._file)
        upload = {
            "filename": filename,
            "content_type": _content_type(segment),
            "content": self._file,
        }
        if filename:
            self._add_file(name, upload)
        else:  # its end tells whether it is a file at all
            self._unnamed = name, upload

    async def _add(self, piece: bytes) -> None:
        if self._field is not None:
            value = self._field[2]
            value += piece
            check_limit(len(value), self._limits.field, "a form field has more bytes")
        elif self._file is not None:
            aside = self._unnamed is not None  # nobody can read it yet
            while self._file.full() and not (self._aside or aside):
                await self._file.room()
            if self._aside or aside:
                self._file.spool(piece)
            else:
                self._file.add(piece)

    def _add_file(self, name: str, upload: dict[str, Any]) -> None:
        self.files.setdefault(name, upload)
        self.all_files.setdefault(name, []).append(upload)
        self._note(name)

    def _end_part(self) -> None:
        if self._field is not None:
            name, charset, value = self._field
            self._field = None
            text = decode_text(value, charset)
            if name == "_charset_" and text:  # browsers fill in what the form is in (RFC 7578, section 4.6)
                self._charset = text
            self.fields.setdefault(name, []).append(text)
            self._note(name)
        elif self._file is not None:
            file, self._file = self._file, None
            file.finish()
            if self._unnamed is not None:
                unnamed, self._unnamed = self._unnamed, None
                self._add_file(*unnamed)

    def _note(self, name: str) -> None:
        self._wanted.discard(name)
        if not self._wanted:
            # Only a file can be handed on while it comes in: a form that ends without one is never seen in part.
            if self._file is not None:
                self._aside = False
            self._arrived.set()


def _names(segment: MultipartSegment) -> tuple[str, str | None]:
    """The name of a part, and its file's name; None for a field.

    ``filename*`` (RFC 8187) is not meant for forms (RFC 7578), but many clients send it, some of them alone.
    """
    name, filename = segment.name or "", segment.filename
    disposition: str = segment.header("Content-Disposition", "")
    if "*" in disposition:
        parameters = parse_parameters(disposition.partition(";")[2])
        if "name*" in parameters:
            name = _extended(parameters["name*"])
        if "filename*" in parameters:
            filename = _extended(parameters["filename*"])
    return name, filename


def _content_type(segment: MultipartSegment) -> str:
    """The media type that a client gives a file.  A handler may send it on, so it is one that a header can hold."""
    text: str = segment.header("Content-Type", "").strip()
    return text if text and text.isascii() and text.isprintable() else "application/octet-stream"


def _extended(value: str) -> str:
    """The text of ``UTF-8''r%C3%A9sum%C3%A9`` (RFC 8187)."""
    charset, _, rest = value.partition("'")
    _, quote, text = rest.partition("'")
    if not quote:
        raise HTTPError(400, "a part of the form has a name that cannot be read")
    return decode_text(unquote_to_bytes(text), charset)


def _make_parser(boundary: str) -> PushMultipartParser:
    try:
        from multipart import PushMultipartParser
    except ImportError:
        raise RuntimeError(
            "multipart forms need the package multipart: install micropie with the extra 'forms'"
        ) from None
    try:
        return PushMultipartParser(boundary.encode("latin-1"), max_header_count=16)
    except (ValueError, AssertionError):
        raise HTTPError(400, "the multipart form has no boundary") from None
