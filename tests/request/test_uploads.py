"""Multipart forms: any order of parts, backpressure, and nothing that hangs or gets lost."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytest

from micropie import App, HTTPError, HttpMiddleware, MultipartFileError, Upload
from micropie.request.uploads import FileQueue
from tests.driver import Answer, HttpJudge, http, make_scope

BOUNDARY = "frontier"
TYPE = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")


def field(name: str, value: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(name: str, content: bytes, filename: str = "f.txt", kind: str = "text/plain") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return head.encode() + f"Content-Type: {kind}\r\n\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


async def content(upload: dict[str, Any]) -> bytes:
    pieces = []
    while (piece := await upload["content"].get()) is not None:
        assert isinstance(piece, bytes)
        assert len(piece) <= 64 * 1024
        pieces.append(piece)
    assert await upload["content"].get() is None
    return b"".join(pieces)


class Uploads(App):
    async def both(self, title: str, file: Any) -> dict[str, Any]:
        body = await content(file)
        return {
            "title": title,
            "length": len(body),
            "filename": file["filename"],
            "type": file["content_type"],
        }

    async def two(self, one: Any, other: Any) -> list[int]:
        return [len(await content(other)), len(await content(one))]

    async def optional(self, file: Any, note: str = "none") -> list[Any]:
        return [note, len(await content(file))]

    async def fields(self) -> dict[str, Any]:
        return {"form": self.request.body_params, "files": sorted(self.request.files)}

    async def everything(self, **names: Any) -> list[str]:
        return sorted(names)

    async def ignores(self, file: Any) -> str:
        return "not read"

    async def tags(self, tag: list[int], file: Any) -> list[int]:
        return tag

    async def streams(self, file: Any) -> Any:
        async def body() -> Any:
            while (piece := await file["content"].get()) is not None:
                yield piece

        return 200, body()

    async def catches(self, file: Any) -> str:
        try:
            await content(file)
        except MultipartFileError as error:
            return f"caught {error.cause.status}"
        return "whole"

    async def raw(self) -> bytes:
        with pytest.raises(RuntimeError, match="read already"):
            await self.request.body()
        return b"read as a form"


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[index : index + size] for index in range(0, len(body), size)]


LARGE = b"0123456789abcdef" * 20_000  # 320 KB: more than stays in memory, more than the queue holds in pieces


@pytest.mark.parametrize("size", [7, 1000, 1_000_000], ids="pieces of {}".format)
@pytest.mark.parametrize("contents", [b"", b"short", b"x" * 20_000])
@pytest.mark.parametrize("order", ["field first", "file first", "file in the middle"])
async def test_the_order_of_the_parts_never_matters(order: str, contents: bytes, size: int) -> None:
    title, upload = field("title", "ä title"), file("file", contents, "ü.png", "image/png")
    parts = {
        "field first": title + upload,
        "file first": upload + title,
        "file in the middle": field("other", "1") + upload + title + field("last", "2"),
    }[order]
    answer = await http(Uploads(), "/both", "POST", headers=[TYPE], body=pieces_of(parts + END, size))
    assert answer.json == {
        "title": "ä title",
        "length": len(contents),
        "filename": "ü.png",
        "type": "image/png",
    }


@pytest.mark.parametrize(
    "parts", [file("one", LARGE) + file("other", LARGE[:9]), file("other", b"9" * 9) + file("one", LARGE)]
)
async def test_two_files_in_any_order(parts: bytes) -> None:
    answer = await http(Uploads(), "/two", "POST", headers=[TYPE], body=pieces_of(parts + END, 5000))
    assert answer.json == [9, len(LARGE)]


@pytest.mark.parametrize(
    ("target", "parts", "answer"),
    [
        ("/optional", file("file", LARGE), ["none", len(LARGE)]),
        ("/optional", file("file", LARGE) + field("note", "late"), ["late", len(LARGE)]),
        ("/optional?note=url", file("file", b"1"), ["url", 1]),
        (
            "/fields",
            file("f", LARGE) + field("a", "1") + field("a", "2"),
            {"form": {"a": ["1", "2"]}, "files": ["f"]},
        ),
        ("/fields", b"", {"form": {}, "files": []}),
        ("/everything?q=1", field("a", "1") + file("f", b"") + field("self", "2"), ["a", "f", "q"]),
        ("/tags", field("tag", "1") + file("file", b"") + field("tag", "2"), [1, 2]),
    ],
)
async def test_what_a_handler_gets(target: str, parts: bytes, answer: Any) -> None:
    got = await http(Uploads(), target, "POST", headers=[TYPE], body=pieces_of(parts + END, 5000))
    assert got.json == answer


@pytest.mark.parametrize("target", ["/ignores", "/raw"])
async def test_an_upload_that_nobody_reads_does_not_hold_up_the_answer(target: str) -> None:
    answer = await http(
        Uploads(), target, "POST", headers=[TYPE], body=pieces_of(file("file", LARGE) + END, 500)
    )
    assert answer.status == 200


async def test_a_stream_can_read_the_upload() -> None:
    body = pieces_of(file("file", LARGE) + END, 5000)
    assert (await http(Uploads(), "/streams", "POST", headers=[TYPE], body=body)).body == LARGE


@pytest.mark.parametrize(
    ("settings", "kind", "body", "status"),
    [
        ({}, "multipart/form-data", field("title", "x") + END, 400),
        ({}, TYPE[1], b"no multipart at all", 400),
        ({}, TYPE[1], b"", 400),
        ({}, TYPE[1], field("title", "x"), 400),
        ({}, TYPE[1], field("title", "x") + file("file", b"cut here")[:-2], 400),
        ({}, TYPE[1], field("title", "x") + END, 400),
        ({}, TYPE[1], b"--frontier\r\nX: y\r\n\r\nz\r\n" + END, 400),
        ({"max_form_field_size": 3}, TYPE[1], field("title", "four") + file("file", b"") + END, 413),
        ({"max_form_parts": 2}, TYPE[1], field("a", "") * 3 + END, 413),
        ({}, TYPE[1], field("a", "") * 60_000 + END, 413),
        ({"max_body_size": 300}, TYPE[1], file("file", LARGE) + field("title", "x") + END, 413),
    ],
)
async def test_a_bad_form_is_refused(settings: Any, kind: str, body: bytes, status: int) -> None:
    headers = [("Content-Type", kind)]
    answer = await http(
        Uploads(**settings), "/both", "POST", headers=headers, body=pieces_of(body, 5000) or [b""]
    )
    assert answer.status == status, answer.text


async def post(app: App, target: str, messages: Iterable[Any]) -> HttpJudge:
    judge, waiting = HttpJudge(), list(messages)

    async def receive() -> Any:
        if waiting:
            message = waiting.pop(0)
            return await message() if callable(message) else message
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        judge.send(message)

    await app(make_scope("http", target, [TYPE], method="POST"), receive, send)
    return judge


def part(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": True}


@pytest.mark.parametrize(
    ("target", "status", "text"), [("/catches", 200, b"caught 400"), ("/both?title=x", 400, None)]
)
async def test_a_file_that_the_client_cuts_short(target: str, status: int, text: bytes | None) -> None:
    async def leave() -> dict[str, Any]:
        for _ in range(10):  # by then the handler reads
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    judge = await post(Uploads(), target, [part(file("file", LARGE)[:1000]), leave])
    assert judge.status == status
    assert text is None or judge.chunks == [text]


async def test_a_form_that_is_cut_before_its_file_never_reaches_the_handler() -> None:
    class Never(App):
        async def index(self, title: str, file: Any) -> str:
            raise AssertionError("the handler must not run")

    judge = await post(Never(), "/", [part(file("file", LARGE)), {"type": "http.disconnect"}])
    assert judge.status == 400


@pytest.mark.parametrize(
    "first", [field("title", "t"), file("file", b"x") + field("title", "t")], ids=["field", "file and field"]
)
async def test_a_handler_sees_all_fields_but_those_behind_a_file(first: bytes) -> None:
    """However slowly they come in: a parameter that is there is no reason to begin, a file that follows is."""

    class Looks(App):
        async def index(self, title: str) -> str:
            return f"{title} {self.request.form('note')}"

    async def later() -> dict[str, Any]:
        for _ in range(10):  # by then a handler that does not wait has answered
            await asyncio.sleep(0)
        return messages.pop(0)

    messages = [part(field("note", "n")), part(file("large", LARGE)), {"type": "http.disconnect"}]
    assert (await post(Looks(), "/", [part(first), later, later, later])).chunks == [b"t n"]
    messages = [part(field("note", "n")), {"type": "http.disconnect"}]
    assert (await post(Looks(), "/", [part(first), later, later])).status == 400


async def test_a_slow_handler_slows_the_client_down() -> None:
    """The socket is read no further than the queue holds."""
    read, may_go_on = 0, asyncio.Event()

    class Slow(App):
        async def index(self, file: Any) -> str:
            await file["content"].get()
            await may_go_on.wait()
            return str(len(await content(file)))

    def counted(number: int) -> Any:
        async def receive() -> Any:
            nonlocal read
            read += 1
            return {"type": "http.request", "body": bodies[number], "more_body": number < len(bodies) - 1}

        return receive

    bodies = [file("file", b"")[:-2], *[b"x" * 1000] * 200, b"\r\n" + END]
    task = asyncio.create_task(post(Slow(), "/", map(counted, range(len(bodies)))))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert read < 60
    may_go_on.set()
    judge = await task
    assert int(judge.chunks[0]) >= 198_000
    assert read == len(bodies)


async def test_the_time_in_which_the_handler_holds_the_queue_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    now = [0.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])

    class Slow(App):
        async def index(self, file: Any) -> str:
            length = 0
            while (piece := await file["content"].get()) is not None:
                now[0] += 1000
                for _ in range(3):
                    await asyncio.sleep(0)
                length += len(piece)
            return str(length)

    body = pieces_of(file("file", b"x" * 50_000) + END, 1000)
    assert (await post_pieces(Slow(), body)).chunks == [b"50000"]


async def post_pieces(app: App, body: list[bytes]) -> HttpJudge:
    last = {"type": "http.request", "body": body[-1], "more_body": False}
    return await post(app, "/", [*map(part, body[:-1]), last])


async def test_without_the_package_one_sentence_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "multipart", None)
    answer = await http(Uploads(), "/both", "POST", headers=[TYPE], body=field("title", "x") + END)
    assert answer.status == 500
    assert "install micropie with the extra 'forms'" in caplog.text


# --- Upload -----------------------------------------------------------------------------------------------


class Annotated(App):
    async def one(self, f: Upload) -> list[Any]:
        return [repr(f), (await f.read()).decode(), (await f.read()).decode()]

    async def maybe(self, f: Upload | None) -> Any:
        return [f and (await f.read()).decode()]

    async def default(self, f: Upload | None = None, note: str = "none") -> Any:
        return [f and (await f.read()).decode(), note]

    async def other(self, f: Upload | Literal["text"] = "text") -> Any:
        return [(await f.read()).decode() if isinstance(f, Upload) else f]

    async def many(self, f: list[Upload]) -> Any:
        return [(await one.read()).decode() for one in f]

    async def pair(self, f: tuple[Upload, Upload]) -> Any:
        return [(await one.read()).decode() for one in f]

    async def named(self, *, f: Upload) -> Any:
        return [(await f.read()).decode()]

    async def extra(self, **files: Upload) -> Any:
        return {name: (await one.read()).decode() for name, one in files.items()}

    def sync(self, f: Upload) -> Any:
        return b"".join(f)

    def sync_file(self, f: Upload, g: Upload | None = None) -> Any:
        assert f.file.seekable()
        assert f.file is f.file
        last = f.file.seek(-1, 2)
        return [
            f.file.read().decode(),
            last,
            f.file.seek(0),
            f.file.read().decode(),
            g and g.file.read().decode(),
        ]

    def sync_steps(self, f: Upload) -> Any:
        yield from f

    def sync_list(self, f: list[Upload]) -> Any:
        return [one.file.read().decode() for one in f]

    async def before(self, f: Upload) -> Any:
        await self.request.read_form()
        return [f.file.read().decode(), b"".join(f).decode(), (await f.read()).decode()]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_file(content: bytes, filename: str = "f.txt") -> bytes:
    return file("f", content, filename)


EMPTY = one_file(b"", "")
TEXT = field("f", "text")


@pytest.mark.parametrize(
    ("target", "parts", "found"),
    [
        ("/one", one_file(b"x"), ["<Upload 'f.txt' text/plain>", "x", ""]),
        ("/one", one_file(b""), ["<Upload 'f.txt' text/plain>", "", ""]),
        ("/one", one_file(b"x", ""), ["<Upload '' text/plain>", "x", ""]),
        ("/one", one_file(b"first") + one_file(b"second"), ["<Upload 'f.txt' text/plain>", "first", ""]),
        ("/one", EMPTY + one_file(b"second"), ["<Upload 'f.txt' text/plain>", "second", ""]),
        ("/one", TEXT, 400),
        ("/one", EMPTY, 400),
        ("/one", b"", 400),
        ("/one?f=text", b"", 400),
        ("/one?f=text", one_file(b"x"), ["<Upload 'f.txt' text/plain>", "x", ""]),
        ("/one/text", one_file(b"x"), 404),
        ("/maybe", one_file(b"x"), ["x"]),
        ("/maybe", EMPTY, [None]),
        ("/maybe", TEXT, 400),
        ("/maybe", b"", 400),
        ("/default", one_file(b"x") + field("note", "n"), ["x", "n"]),
        ("/default", EMPTY + field("note", "n"), [None, "n"]),
        ("/default", b"", [None, "none"]),
        ("/default", TEXT, 400),
        ("/default?f=text", b"", 400),
        ("/other", one_file(b"x"), ["x"]),
        ("/other", TEXT, ["text"]),
        ("/other", field("f", "other"), 400),
        ("/other", EMPTY, ["text"]),
        ("/many", one_file(b"x") + EMPTY + one_file(b"y"), ["x", "y"]),
        ("/many", EMPTY, []),
        ("/many", TEXT, 400),
        ("/many", b"", 400),
        ("/pair", one_file(b"x") + one_file(b"y"), ["x", "y"]),
        ("/pair", one_file(b"x"), 400),
        ("/named", one_file(b"x"), ["x"]),
        ("/named", TEXT, 400),
        ("/extra", one_file(b"x") + file("g", b"y"), {"f": "x", "g": "y"}),
        ("/extra", TEXT, 400),
        ("/sync", one_file(LARGE), LARGE),
        ("/sync", TEXT, 400),
        ("/sync_file", one_file(b"0123"), ["3", 3, 0, "0123", None]),
        ("/sync_file", file("g", b"g") + one_file(b"0123") + field("a", "b"), ["3", 3, 0, "0123", "g"]),
        ("/sync_steps", one_file(LARGE), LARGE),
        ("/sync_list", one_file(b"x") + file("g", b"g") + one_file(b"y"), ["x", "y"]),
        ("/before", one_file(LARGE) + field("a", "b"), [LARGE.decode()] * 2 + [""]),
    ],
)
@pytest.mark.parametrize("size", [1000, 1_000_000], ids="pieces of {}".format)
async def test_a_parameter_that_is_a_file(target: str, parts: bytes, found: Any, size: int) -> None:
    """A file, or the default for an input that was left empty; text is no file."""
    answer = await http(Annotated(), target, "POST", headers=[TYPE], body=pieces_of(parts + END, size))
    got: Any = answer.status if answer.status != 200 else answer.body if found == LARGE else answer.json
    assert got == found, answer.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"f": "text"}'),
        ("application/json", b'{"f": {"filename": "a", "content_type": "b", "content": "c"}}'),
        ("application/json", b'{"f": null}'),
        ("application/x-www-form-urlencoded", b"f=text"),
        ("text/plain", b"f=text"),
    ],
)
@pytest.mark.parametrize("target", ["/one", "/many", "/sync", "/extra"])
async def test_no_other_body_brings_a_file(kind: str, body: bytes, target: str) -> None:
    """Not even JSON that looks like one."""
    answer = await http(Annotated(), target, "POST", headers=[("Content-Type", kind)], body=body)
    assert answer.status == 400 or (target, kind, answer.text) == ("/extra", "text/plain", "{}")


async def test_a_file_is_read_in_any_steps() -> None:
    """read(n) gives so many bytes, and fewer only at the end; the ways to read can follow each other."""

    class Steps(App):
        async def index(self, f: Upload, n: int) -> list[int]:
            sizes = [len(await f.read(n)), len(await f.read(0)), len(await f.read(n))]
            async for piece in f:
                sizes.append(len(piece))
                break
            sizes.append(len(await f.read()))
            assert await f.read(n) == b""
            assert [piece async for piece in f] == []
            return [sizes[0], sizes[1], sizes[2], sum(sizes)]

    for n in (1, 999, 100_000):
        for size in (7, 5000, 1_000_000):
            body = field("n", str(n)) + one_file(LARGE) + END
            answer = await http(Steps(), "/", "POST", headers=[TYPE], body=pieces_of(body, size))
            assert answer.json == [n, 0, n, len(LARGE)]


async def test_who_gives_up_reading_loses_nothing() -> None:
    """What had come in is there for the next who reads."""

    class Impatient(App):
        async def index(self, f: Upload) -> bytes:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await f.read()
            go_on.set()
            return await f.read()

    go_on = asyncio.Event()

    async def wait() -> dict[str, Any]:
        await go_on.wait()
        return {"type": "http.request", "body": b"tail\r\n" + END}

    judge = await post(Impatient(), "/", [part(one_file(b"head ")[:-2]), wait])
    assert b"".join(judge.chunks) == b"head tail"


@pytest.mark.parametrize("read", ["read", "save", "pieces"])
async def test_an_upload_that_the_client_cuts_short(read: str, tmp_path: Path) -> None:
    """Whoever reads it hears of it, again and again, and no half of a file is left."""

    async def pieces(f: Upload) -> list[bytes]:
        return [piece async for piece in f]

    ways: dict[str, Any] = {
        "read": Upload.read,
        "save": lambda f: f.save(tmp_path / "file"),
        "pieces": pieces,
    }

    class Cut(App):
        async def index(self, f: Upload) -> None:
            for _ in range(2):
                with pytest.raises(MultipartFileError) as caught:
                    await ways[read](f)
                assert caught.value.cause.status == 400
            raise caught.value

    async def leave() -> dict[str, Any]:
        for _ in range(10):  # by then the handler reads
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    judge = await post(Cut(), "/", [part(one_file(LARGE)[:1000]), leave])
    assert judge.status == 400
    assert names_in(tmp_path) == []


async def test_an_upload_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all; what was there is replaced, and a failure leaves it as it was."""

    class Saves(App):
        async def index(self, f: Upload, name: str) -> int:
            return await f.save(tmp_path / name)

    async def save(content: bytes, name: str) -> Answer:
        body = field("name", name) + one_file(content) + END
        return await http(Saves(), "/", "POST", headers=[TYPE], body=pieces_of(body, 50_000))

    for content in (b"old", LARGE, b""):
        assert (await save(content, "f")).text == str(len(content))
        assert (names_in(tmp_path), (tmp_path / "f").read_bytes()) == (["f"], content)
    assert (await save(b"new", "no/f")).status == 500
    (tmp_path / "folder").mkdir()
    assert (await save(b"new", "folder")).status == 500
    assert names_in(tmp_path) == ["f", "folder"]
    monkeypatch.setattr("micropie.request.uploads.threads_exist", lambda: False)
    assert (await save(LARGE, "f")).text == str(len(LARGE))


@pytest.mark.parametrize("target", ["/sync", "/sync_file", "/sync_list"])
async def test_a_sync_handler_needs_no_thread(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where threads do not exist it runs in the event loop, and reads what is there."""
    monkeypatch.setattr("micropie.concurrency.threads_exist", lambda: False)
    answer = await http(
        Annotated(), target, "POST", headers=[TYPE], body=[one_file(b"01")[:-2], b"23\r\n" + END]
    )
    assert "0123" in answer.text


async def test_a_file_that_is_still_coming_in_cannot_be_read_at_once() -> None:
    """In an async handler the ways of a def handler say what to write instead; a file that was read in part, too."""

    class Misuse(App):
        async def index(self, f: Upload) -> Any:
            with pytest.raises(RuntimeError, match="is still coming in"):
                next(iter(f))
            with pytest.raises(RuntimeError, match="read_form"):
                f.file.read()
            go_on.set()
            assert await f.read(1) == b"0"
            await self.request.read_form()
            with pytest.raises(RuntimeError, match="or was read"):
                f.file.read()
            return b"".join(f)

    go_on = asyncio.Event()

    async def wait() -> dict[str, Any]:
        await go_on.wait()
        return {"type": "http.request", "body": b"23\r\n" + END}

    judge = await post(Misuse(), "/", [part(one_file(b"01")[:-2]), wait])
    assert b"".join(judge.chunks) == b"123"


async def test_a_file_goes_with_its_request() -> None:
    """What is read later is an error, not a part of it."""

    class Keeps(App):
        def index(self, f: Upload) -> str:
            self.kept = f, f.file
            return "kept"

    app = Keeps()
    assert (await http(app, "/", "POST", headers=[TYPE], body=one_file(LARGE) + END)).text == "kept"
    with pytest.raises(ValueError, match="its files are gone"):
        app.kept[1].read()
    with pytest.raises(MultipartFileError):
        await app.kept[0].read()


# --- what an upload costs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/fields", "/both", "/everything"])
async def test_many_files_take_one_descriptor(target: str) -> None:
    """However many files a form brings before something that is waited for, there is one temporary file."""
    before = len(names_in(Path("/proc/self/fd")))
    seen = 0

    async def leave() -> dict[str, Any]:
        nonlocal seen
        seen = len(names_in(Path("/proc/self/fd")))
        return {"type": "http.disconnect"}

    messages = [part(file(f"file{number}", LARGE)) for number in range(40)]
    assert (await post(Uploads(max_body_size=None), target, [*messages, leave])).status == 400
    assert seen - before <= 1
    assert len(names_in(Path("/proc/self/fd"))) <= before


@pytest.mark.parametrize("size", [1, 2, 600])
async def test_a_file_in_tiny_pieces_takes_little_memory(size: int) -> None:
    """Whether its handler reads it or waits for something behind it."""

    class Reads(App):
        async def index(self, f: Upload) -> str:
            size = 0
            async for piece in f:
                size += len(piece)
            return str(size)

        async def later(self, f: Upload, note: str) -> str:
            size = 0
            async for piece in f:
                size += len(piece)
            return str(size)

    total = size * 5_000
    for target, end in (("/", END), ("/later", field("note", "n") + END)):
        head, left = one_file(b"")[:-2], total // size

        async def receive() -> dict[str, Any]:
            nonlocal head, left
            if head:
                found, head = head, b""
                return part(found)
            left -= 1
            return part(b"x" * size) if left >= 0 else {"type": "http.request", "body": b"\r\n" + end}  # noqa: B023  # called in its own round

        judge = HttpJudge()

        async def send(message: Any) -> None:
            judge.send(message)  # noqa: B023  # called in its own round

        tracemalloc.start()
        try:
            await Reads(max_body_size=None)(make_scope("http", target, [TYPE], method="POST"), receive, send)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert judge.chunks == [str(total).encode()]
        assert peak < 2_000_000


# --- names and text ---------------------------------------------------------------------------------------


def named(disposition: str, content: bytes, *more: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *more]
    return (
        f"--{BOUNDARY}\r\n".encode() + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content + b"\r\n"
    )


class Names(App):
    async def index(self) -> dict[str, Any]:
        files = {
            name: [file["filename"], file["content_type"], (await content(file)).decode()]
            for name, file in self.request.files.items()
        }
        return {**self.request.body_params, **files}


PLAINLY = "application/octet-stream"
FIELD = 'name="a"'


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        (named("name=a; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf", b"x"), {"a": ["résumé.pdf", PLAINLY, "x"]}),
        (named("filename*=utf-8'en'%e2%82%ac; name=\"a\"", b"x"), {"a": ["€", PLAINLY, "x"]}),
        (
            named("name=a; filename=\"r.pdf\"; filename*=UTF-8''r%C3%A9.pdf", b""),
            {"a": ["ré.pdf", PLAINLY, ""]},
        ),
        (
            named("name=a; filename*=UTF-8''r%C3%A9.pdf; filename=\"r.pdf\"", b""),
            {"a": ["ré.pdf", PLAINLY, ""]},
        ),
        (named("name=a; filename*=iso-8859-1''r%E9.pdf", b""), {"a": ["ré.pdf", PLAINLY, ""]}),
        (named("name=a; filename*=\"UTF-8''r.pdf\"", b""), {"a": ["r.pdf", PLAINLY, ""]}),
        (named("name*=UTF-8''%C3%A4", b"x"), {"ä": ["x"]}),
        (named("name=a; filename*=UTF-8''%FF", b""), 400),
        (named("name=a; filename*=klingon''a", b""), 400),
        (named("name=a; filename*=a.pdf", b""), 400),
        (named('name=a; filename="\xff"', b""), 400),
        (named('name="*"; filename="*.txt"', b""), {"*": ["*.txt", PLAINLY, ""]}),
        (
            named(FIELD, "да".encode("cp1251"), "Content-Type: text/plain; charset=windows-1251"),
            {"a": ["да"]},
        ),
        (named(FIELD, "да".encode("utf-16"), 'Content-Type: text/plain; charset="UTF-16"'), {"a": ["да"]}),
        (named(FIELD, b"\x98", "Content-Type: text/plain; charset=windows-1251"), 400),
        (named(FIELD, b"a", "Content-Type: text/plain; charset=klingon"), 400),
        (named(FIELD, b"a", "Content-Type: text/plain; charset=punycode"), 400),
        (named(FIELD, b"\xff"), 400),
        (named(FIELD, b"a\xed\xa0\x80"), 400),
        (named(FIELD, "\ufffd".encode()), {"a": ["\ufffd"]}),
        (
            field("_charset_", "windows-1251") + named(FIELD, b"\xe4"),
            {"_charset_": ["windows-1251"], "a": ["д"]},
        ),
        (field("_charset_", "") + named(FIELD, b"\xc3\xa4"), {"_charset_": [""], "a": ["ä"]}),
        (
            named('name=a; filename="a"', b"x", "Content-Type: text/CSV; charset=windows-1251"),
            {"a": ["a", "text/CSV; charset=windows-1251", "x"]},
        ),
        (named(FIELD, b"YQ==", "Content-Transfer-Encoding: base64"), 400),
        (named(FIELD, b"a", "Content-Transfer-Encoding: 8BIT"), {"a": ["a"]}),
    ],
)
@pytest.mark.parametrize("size", [1, 1_000_000], ids="pieces of {}".format)
async def test_names_and_text_of_parts(parts: bytes, found: Any, size: int) -> None:
    """Every way in which clients name a file or say a charset; what cannot be decoded is refused."""
    answer = await http(Names(), "/", "POST", headers=[TYPE], body=pieces_of(parts + END, size))
    assert (answer.json if answer.status == 200 else answer.status) == found, answer.text


@pytest.mark.parametrize("boundary", ["q83+aw==", "=_=", "a b", "'()+_,-./:=?", "0" * 70, "a*b", "\xe9"])
@pytest.mark.parametrize(
    "form", ["boundary={}", 'boundary="{}"', "charset=utf-8; boundary={}; x=y", "Boundary={} "]
)
async def test_boundaries(boundary: str, form: str) -> None:
    """Any boundary, in quotes as it should be, or without."""
    body = (field("a", "1") + END).replace(BOUNDARY.encode(), boundary.encode("latin-1"))
    kind = ("Content-Type", "multipart/form-data; " + form.format(boundary))
    assert (await http(Names(), "/", "POST", headers=[kind], body=body)).json == {"a": ["1"]}


# --- hooks that read the form -----------------------------------------------------------------------------


class Token(HttpMiddleware):
    """Refuses what does not bring the token, in whatever form; notes what it saw, and what had been received."""

    def __init__(self, *names: str) -> None:
        self.names = names

    async def before_request(self, request: Any) -> None:
        fields = await request.read_form(*self.names)
        assert fields is request.body_params
        request.scope["seen"].append((sorted(fields), sorted(request.files)))
        if fields.get("token") != ["secret"]:
            raise HTTPError(403)


PLAIN = ("Content-Type", "application/x-www-form-urlencoded")


async def mounted_app(scope: Any, receive: Any, send: Any) -> None:
    """An app of somebody else: it answers with the very bytes of its body."""
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


FORMS = {
    "token first": field("token", "secret") + field("title", "t") + file("file", LARGE) + END,
    "token last": field("title", "t") + file("file", LARGE) + field("token", "secret") + END,
    "wrong token": field("token", "guess") + field("title", "t") + file("file", LARGE) + END,
    "no token": field("title", "t") + file("file", LARGE) + END,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [3000, 10_000_000], ids="pieces of {}".format)
@pytest.mark.parametrize("names", [("token",), ()], ids=["its field", "all"])
@pytest.mark.parametrize("where", ["here", "mounted", "mounted app of ours", "chosen app"])
async def test_a_hook_reads_a_form_with_files(form: str, size: int, names: Any, where: str) -> None:
    """It takes nothing from the handler, nor from a mounted app, which gets the very bytes."""
    app, body = Uploads(), FORMS[form]
    app.mount("/mounted", mounted_app)
    app.mount("/ours", Uploads())
    app.middlewares.append(Token(*names))
    if where == "chosen app":

        class Choose(HttpMiddleware):
            async def before_request(self, request: Any) -> None:
                request._subapp = mounted_app

        app.middlewares.append(Choose())
    target = {
        "here": "/both",
        "mounted": "/mounted",
        "mounted app of ours": "/ours/both",
        "chosen app": "/x",
    }[where]
    seen: list[Any] = []
    answer = await http(app, target, "POST", headers=[TYPE], body=pieces_of(body, size), seen=seen)
    if not form.startswith("token"):
        assert answer.status == 403
    elif "ours" in where or where == "here":
        assert (answer.json["title"], answer.json["length"]) == ("t", len(LARGE))
    else:
        assert answer.body == body
    if form in ("token first", "wrong token") and names:
        assert seen == [(["token"], [])]  # and nothing behind it was waited for
    elif form != "no token":
        assert seen == [(["title", "token"], ["file"])]


@pytest.mark.parametrize("body", [[b"title=t&token=secret"], [b"title=t&", b"token=sec", b"ret"]])
@pytest.mark.parametrize("target", ["/mounted", "/both"])
async def test_a_hook_reads_a_plain_form_before_a_mount(body: list[bytes], target: str) -> None:
    """Forms and JSON have been read before a hook runs, below a mount too; other apps get the same bytes."""

    class Looks(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            if request.form("token") != "secret":
                raise HTTPError(403)

    app = App()
    app.mount(target, mounted_app)
    for hook in (Looks(), Token("token"), Token()):
        app.middlewares = [hook]
        answer = await http(app, target, "POST", headers=[PLAIN], body=body, seen=[])
        assert answer.body == b"title=t&token=secret"
        assert (await http(app, target, "POST", headers=[PLAIN], body=b"token=no", seen=[])).status == 403


@pytest.mark.parametrize(
    ("headers", "settings"),
    [
        ([("Content-Type", "application/json")], {}),
        ([PLAIN], {"max_form_parts": 1}),
        ([PLAIN], {"max_body_size": 3}),
        ([PLAIN, ("Content-Length", "9")], {"max_body_size": 3}),
        ([("Content-Type", "multipart/form-data")], {}),
        ([("Content-Type", "image/png")], {"max_body_size": 3}),
    ],
)
@pytest.mark.parametrize("body", [[b"a=1&b={&c"], [b"a=1", b"&b={", b"&c"]])
async def test_what_is_wrong_for_a_hook_is_none_of_a_mounted_apps_business(
    headers: Any, settings: Any, body: list[bytes]
) -> None:
    """It has limits of its own: it gets every byte, if no hook looked."""

    class Blind(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            pass

    app = App(**settings)
    app.mount("/mounted", mounted_app)
    app.middlewares.append(Blind())
    assert (await http(app, "/mounted", "POST", headers=headers, body=body)).body == b"a=1&b={&c"


async def test_an_empty_body_reaches_a_mounted_app() -> None:
    """A hook that read that there is nothing leaves nothing for the other app, not silence."""
    app = App()
    app.mount("/mounted", mounted_app)
    app.middlewares.append(Token())
    app.middlewares[0].names = ()

    class Reads(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            assert await request.read_form() == {}

    app.middlewares = [Reads()]
    for headers in ([PLAIN], [TYPE], []):
        assert (await http(app, "/mounted", "POST", headers=headers)).body == b""


async def test_on_headers_can_wait_for_a_form() -> None:
    """The form is read once, whoever asks for it first."""

    class Early(HttpMiddleware):
        async def on_headers(self, request: Any) -> Any:
            fields = await request.read_form("title")
            return {"status_code": 403} if fields["title"] == ["no"] else None

    app = Uploads()
    app.middlewares.append(Early())
    for title, status in (("t", 200), ("no", 403)):
        body = file("file", LARGE) + field("title", title) + END
        assert (await http(app, "/both", "POST", headers=[TYPE], body=pieces_of(body, 5000))).status == status
        answer = await http(app, "/optional?file=x", "POST", headers=[PLAIN], body=f"title={title}".encode())
        assert answer.status in (status, 500)  # text for a file: the handler fails


async def test_a_handler_waits_for_a_field_behind_the_file_that_it_reads() -> None:
    """What comes in meanwhile is put aside, what waits in the queue too, and nothing is lost."""

    class Late(App):
        async def index(self, file: Any) -> list[Any]:
            first = await file["content"].get()
            fields = await self.request.read_form("note")
            return [fields["note"], len(first) + len(await content(file))]

    body = file("file", LARGE) + field("note", "n") + file("more", LARGE) + END
    for size in (1000, 50_000, 10_000_000):
        answer = await http(Late(), "/", "POST", headers=[TYPE], body=pieces_of(body, size))
        assert answer.json == [["n"], len(LARGE)]


async def test_read_form_of_other_bodies() -> None:
    """JSON, other types and no body are no form: there is nothing in it."""

    class Reads(App):
        async def index(self) -> Any:
            return [await self.request.read_form(), await self.request.read_form("name"), self.request.json()]

    for headers, body, value in (
        ([("Content-Type", "application/json")], b'{"name": 1}', {"name": 1}),
        ([], b"name=1", {}),
    ):
        assert (await http(Reads(), "/", "POST", headers=headers, body=body)).json == [{}, {}, value]
    assert (await http(Reads())).json == [{}, {}, {}]
    found = await http(Reads(), "/", "POST", headers=[PLAIN], body=b"name=1")
    assert found.json == [{"name": ["1"]}, {"name": ["1"]}, {}]


# --- what goes wrong on the server's side ----------------------------------------------------------------


@pytest.mark.parametrize("target", ["/both?title=x", "/fields", "/streams"])
async def test_an_upload_that_cannot_be_kept_ends_its_request(
    target: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("the disk is full")

    async def fail() -> None:
        raise OSError("the connection broke")

    monkeypatch.setattr(FileQueue, "spool", full)
    messages = [part(file("file", b"x" * 100)[:-2]), fail]
    judge = await post(Uploads(), target, messages)
    assert judge.status == 500
    assert "an upload could not be read" in caplog.text
    assert not any(b"disk" in chunk or b"broke" in chunk for chunk in judge.chunks)


async def test_a_hook_may_take_the_raw_body_of_a_form() -> None:
    class Raw(HttpMiddleware):
        async def on_headers(self, request: Any) -> None:
            lengths.append(len(await request.body()))

    lengths: list[int] = []
    app = Uploads()
    app.middlewares.append(Raw())
    body = field("title", "t") + file("file", b"content") + END
    answer = await http(app, "/both", "POST", headers=[TYPE], body=pieces_of(body, 50))
    assert answer.json["length"] == 7
    assert lengths == [len(body)]


async def test_a_stream_beside_an_unread_upload_hears_of_its_client() -> None:
    class Ignores(App):
        async def index(self, file: Any) -> Any:
            async def endless() -> Any:
                try:
                    while True:
                        yield "x"
                        await asyncio.sleep(0)
                finally:
                    ended.set()

            return 200, endless()

    ended = asyncio.Event()
    pieces = [*map(part, pieces_of(file("file", LARGE), 1000)), {"type": "http.request", "body": END}]
    await post(Ignores(), "/", [*pieces, {"type": "http.disconnect"}])
    assert ended.is_set()


async def test_everybody_who_waits_for_the_end_of_a_file_gets_it() -> None:
    class Many(App):
        async def index(self, file: Any) -> Any:
            async def read() -> int:
                return len(await content(file))

            return list(await asyncio.gather(read(), read(), read()))

    answer = await http(
        Many(), "/", "POST", headers=[TYPE], body=[file("file", b"x" * 9)[:-2], b"\r\n" + END]
    )
    assert sum(answer.json) == 9


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("image/png; q=1", "image/png; q=1"),
        ("", "application/octet-stream"),
        ("text/html\x01", "application/octet-stream"),
        ("text/\x7f", "application/octet-stream"),
        ("text/п", "application/octet-stream"),
    ],
)
async def test_a_files_media_type_can_be_sent_on(sent: str, seen: str) -> None:
    """A handler may send a file back under the media type that its client gave it: no client makes that a 500."""

    class Mirror(App):
        async def index(self, file: Upload) -> Any:
            return 200, await file.read(), [("Content-Type", file.content_type)]

    head = f'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: {sent}\r\n\r\nx\r\n'
    body = f"--{BOUNDARY}\r\n{head}".encode() + END
    kind = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    answer = await http(Mirror(), "/", "POST", headers=[kind], body=body)
    assert (answer.status, answer.headers["content-type"], answer.text) == (200, seen, "x")
