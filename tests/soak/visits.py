"""Every way in which a client visits the apps of leak_apps.py, and the right answer to each."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from secrets import token_hex

from tests.soak.visitor import CLOSE, TEXT, Visitor, expect

FORM = "application/x-www-form-urlencoded"
OCTETS = "application/octet-stream"
BOUNDARY = "leaks"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


async def comes_back(visitor: Visitor) -> None:
    expect(await visitor.ask(""), (200, b"visit 1"))
    expect(await visitor.ask(""), (200, b"visit 2"))


async def logs_in_and_out(visitor: Visitor) -> None:
    expect(await visitor.ask("login", FORM, b"name=alice"), (200, b"hello alice"))
    expect(await visitor.ask("me?user=bob"), (200, b"alice"))
    expect(await visitor.ask("logout"), (200, b"bye"))
    expect((await visitor.ask("me"))[0], 401)


async def sends_json(visitor: Visitor) -> None:
    values = json.dumps({"values": [*range(100)]}).encode()
    expect(await visitor.ask("json", "application/json", values), (200, b'{"sum":4950}'))
    expect((await visitor.ask("json", "application/json", b"{"))[0], 400)


def upload(size: int, *, file_first: bool = True) -> bytes:
    """A form with a field and a file; a file that comes first has to wait in a temporary one."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    file = f'{head}"file"; filename="f"\r\n\r\n{"x" * size}\r\n'
    field = f'{head}"name"\r\n\r\nn\r\n'
    return f"{file + field if file_first else field + file}--{BOUNDARY}--\r\n".encode()


async def uploads(visitor: Visitor) -> None:
    expect(await visitor.ask("upload", MULTIPART, upload(300_000)), (200, b"n 300000"))
    expect(await visitor.ask("upload", MULTIPART, upload(3_000, file_first=False)), (200, b"n 3000"))
    expect(await visitor.ask("unread", MULTIPART, upload(3_000)), (200, b"f"))


async def takes_uploads(visitor: Visitor) -> None:
    for taker, answer in UPLOAD_TAKERS.items():
        for size in (3_000, 200_000):
            form = upload(size, file_first=False)
            expect(await visitor.ask(f"upload_{taker}", MULTIPART, form), (200, answer(size)))


#: The handlers that take an `Upload`, and what each answers to a file of a size.
UPLOAD_TAKERS: dict[str, Callable[[int], bytes]] = {
    "read": lambda size: b"%d" % size,
    "some": lambda size: b"1000",
    "pieces": lambda size: b"%d" % size,
    "saved": lambda size: b"%d" % size,
    "unread": lambda size: b"f",
    "kept": lambda size: b"f",
    "several": lambda size: b"1",
    "in_thread": lambda size: b"%d" % size,
}


async def breaks_off_a_taken_upload(visitor: Visitor, taker: str) -> None:
    visitor.begin(f"upload_{taker}", MULTIPART, upload(100_000, file_first=False)[:-50_000], missing=50_000)
    visitor.vanish()


async def streams_a_body(visitor: Visitor) -> None:
    for size in (100, 300_000):
        expect(await visitor.ask("body_whole", OCTETS, bytes(size)), (200, b"%d" % size))


async def is_not_read_to_the_end(visitor: Visitor) -> None:
    visitor.begin("body_first", OCTETS, bytes(1000), missing=100_000)
    expect(await visitor.answer(), (200, b"some"))
    visitor.go_on(bytes(50_000))


async def breaks_off_a_body(visitor: Visitor) -> None:
    visitor.begin("body_whole", OCTETS, bytes(70_000), missing=100_000)
    visitor.vanish()


async def sends_too_much(visitor: Visitor) -> None:
    visitor.begin("upload", MULTIPART, b"", missing=2**40)
    expect((await visitor.answer())[0], 413)


async def breaks_off_an_upload(visitor: Visitor) -> None:
    visitor.begin("upload", MULTIPART, upload(100_000, file_first=False)[:-50_000], missing=50_000)
    visitor.vanish()


async def reads_a_stream(visitor: Visitor) -> None:
    numbers = "".join(f"{number}\n" for number in range(20)).encode()
    expect(await visitor.ask("stream?count=20"), (200, numbers))


async def leaves_a_stream(visitor: Visitor) -> None:
    visitor.begin("waits")
    expect(await visitor.some(), 200)
    visitor.vanish()


#: Streams that begin and go on until they are left: one that never waits, one that does, one in threads, one that
#: waits while it ends, one that swallows the first cancellation.
ENDLESS = ("endless", "paced", "in_threads", "tidy", "stubborn")


async def leaves_at(visitor: Visitor, stream: str, *, after: int) -> None:
    """Take some of it, and close in good order with what is on its way unread."""
    visitor.begin(f"stream_{stream}")
    expect(await visitor.some(), 200)
    if after:
        await visitor.read(after)


async def vanishes_from(visitor: Visitor, stream: str) -> None:
    visitor.begin(f"stream_{stream}")
    expect(await visitor.some(), 200)
    visitor.vanish()


async def vanishes_at_once(visitor: Visitor, stream: str) -> None:
    visitor.begin(f"stream_{stream}")
    visitor.vanish()


async def leaves_unread(visitor: Visitor, stream: str) -> None:
    """Read nothing, while the server sends as much as it can; then vanish."""
    visitor.stop_reading()
    visitor.begin(f"stream_{stream}")
    expect(await visitor.ask_beside("text"), (200, b"text"))
    visitor.vanish()


async def leaves_before_the_end(visitor: Visitor) -> None:
    """Take all pieces, and not the end."""
    visitor.begin("stream_short")
    expect(await visitor.some(), 200)
    visitor.vanish()


async def leaves_before_the_answer(visitor: Visitor) -> None:
    visitor.begin("stream?count=20")
    visitor.vanish()


async def meets_errors(visitor: Visitor) -> None:
    expect((await visitor.ask("fails"))[0], 500)
    expect((await visitor.ask("refuses"))[0], 409)
    expect((await visitor.ask("nowhere"))[0], 404)
    expect((await visitor.ask("stream?count=x"))[0], 400)
    expect(await visitor.ask("breaks"), (200, b"begun and no end"))


async def meets_a_thread(visitor: Visitor) -> None:
    expect((await visitor.ask("thread"))[0], 200)


async def never_looks(visitor: Visitor) -> None:
    """A session that nobody looks at is not there, and one that is only read is not written."""
    expect(await visitor.ask("lazy_unseen"), (200, b"unseen"))
    expect(visitor.cookie, "")
    expect(await visitor.ask("lazy_read"), (200, b"None"))
    expect(visitor.cookie, "")
    expect(await visitor.ask("lazy_write"), (200, b"written"))
    expect(await visitor.ask("lazy_unseen"), (200, b"unseen"))
    expect(await visitor.ask("lazy_read"), (200, b"1"))
    expect(await visitor.open("lazy_socket"), 101)
    expect(await visitor.hear(), (TEXT, b"1"))


async def meets_a_failing_store(visitor: Visitor, app: str, call: str) -> None:
    if call != "none":
        visitor.cookie = f"Cookie: session_id=fails-at-{call}-0123456789\r\n"
    expect(await visitor.ask(f"{app}/unseen"), (200, b"unseen"))
    expect((await visitor.ask(f"{app}/read"))[0], 503 if call == "load" else 200)
    expect((await visitor.ask(f"{app}/write"))[0], 503 if call == "load" else 500)
    expect((await visitor.ask(f"{app}/streamed"))[0], 503 if call == "load" else 500)


#: Apps below this one, with its session and without.
MOUNTED = ("inner", "apart", "plain", "plain_apart")


async def visits_a_mounted_app(visitor: Visitor, app: str) -> None:
    """An app that shares the session, has one of its own, or is plain ASGI."""
    expect(await visitor.ask(f"{app}/"), (200, b"1"))
    expect(await visitor.ask(f"{app}/"), (200, b"2" if app != "plain_apart" else b"1"))
    expect((await visitor.ask(f"{app}/fails"))[0], 500)
    expect(await visitor.open(f"{app}/echo"), 101)
    visitor.say(TEXT, b"one")
    expect(await visitor.hear(), (TEXT, b"one"))


async def leaves_a_mounted_stream(visitor: Visitor, app: str) -> None:
    visitor.begin(f"{app}/waits")
    expect(await visitor.some(), 200)
    visitor.vanish()


async def talks(visitor: Visitor, path: str = "echo") -> None:
    expect(await visitor.open(path), 101)
    for word in (b"one", b"two"):
        visitor.say(TEXT, word)
        expect(await visitor.hear(), (TEXT, word))
    visitor.say(CLOSE, (1000).to_bytes(2))
    expect(await visitor.hear(), (CLOSE, (1000).to_bytes(2)))


async def talks_both_ways(visitor: Visitor) -> None:
    await talks(visitor, "run")


async def vanishes(visitor: Visitor) -> None:
    expect(await visitor.open("waits"), 101)
    expect(await visitor.hear(), (TEXT, b"begun"))
    visitor.vanish()


async def says_nonsense(visitor: Visitor) -> None:
    expect(await visitor.open("caught"), 101)
    visitor.say(TEXT, b"no JSON")
    expect(await visitor.hear(), (CLOSE, (1007).to_bytes(2)))


async def meets_a_failing_socket(visitor: Visitor) -> None:
    expect(await visitor.open("fails"), 101)
    expect(await visitor.hear(), (CLOSE, (1011).to_bytes(2)))


async def is_closed_from_outside(visitor: Visitor) -> None:
    room = token_hex()
    expect(await visitor.open(f"room/{room}"), 101)
    expect(await visitor.hear(), (TEXT, b"begun"))
    expect(await visitor.ask_beside(f"close/{room}"), (200, b"1"))
    expect(await visitor.hear(), (CLOSE, (4001).to_bytes(2) + b"bye"))


async def is_closed_unread(visitor: Visitor) -> None:
    """The same for a client that has been sent more than it takes."""
    room = token_hex()
    expect(await visitor.open(f"flood/{room}"), 101)
    visitor.stop_reading()
    # On a busy machine it may be dropped first.
    expect((await visitor.ask_beside(f"close/{room}"))[0], 200)
    expect((await visitor.ask_beside(f"dropped/{room}"))[0], 200)


async def is_told_from_a_thread(visitor: Visitor) -> None:
    room = token_hex()
    expect(await visitor.open(f"room/{room}"), 101)
    expect(await visitor.hear(), (TEXT, b"begun"))
    expect(await visitor.ask_beside(f"tell/{room}"), (200, b"1"))
    expect(await visitor.hear(), (TEXT, b"told"))


async def stops_reading(visitor: Visitor) -> None:
    """What is sent waits, until the client counts as gone."""
    name = token_hex()
    expect(await visitor.open(f"flood/{name}"), 101)
    visitor.stop_reading()
    expect(await visitor.ask_beside(f"dropped/{name}"), (200, b"1006"))


async def is_refused(visitor: Visitor) -> None:
    expect(await visitor.open("refuses"), 401)


async def is_foreign(visitor: Visitor) -> None:
    expect(await visitor.open("echo", "Origin: http://evil.example\r\n"), 403)


#: Each visit, and how many requests and sockets it is.
VISITS: dict[Callable[[Visitor], Awaitable[None]], int] = {
    comes_back: 2,
    logs_in_and_out: 4,
    sends_json: 2,
    uploads: 3,
    sends_too_much: 1,
    breaks_off_an_upload: 1,
    reads_a_stream: 1,
    leaves_a_stream: 1,
    leaves_before_the_answer: 1,
    meets_errors: 5,
    meets_a_thread: 1,
    talks: 1,
    talks_both_ways: 1,
    vanishes: 1,
    says_nonsense: 1,
    meets_a_failing_socket: 1,
    is_refused: 1,
    is_foreign: 1,
    takes_uploads: 2 * len(UPLOAD_TAKERS),
    **{partial(breaks_off_a_taken_upload, taker=taker): 1 for taker in UPLOAD_TAKERS},
    streams_a_body: 2,
    is_not_read_to_the_end: 1,
    breaks_off_a_body: 1,
    **{partial(leaves_at, stream=stream, after=after): 1 for stream in ENDLESS for after in (0, 2000)},
    **{partial(vanishes_from, stream=stream): 1 for stream in ENDLESS},
    **{partial(vanishes_at_once, stream=stream): 1 for stream in ENDLESS},
    **{partial(leaves_unread, stream=stream): 2 for stream in ENDLESS},
    leaves_before_the_end: 1,
    never_looks: 6,
    **{
        partial(meets_a_failing_store, app=app, call=call): 4
        for app in ("failing", "failing_later")
        for call in ("none", "load", "save")
    },
    **{partial(visits_a_mounted_app, app=app): 4 for app in MOUNTED},
    **{partial(leaves_a_mounted_stream, app=app): 1 for app in MOUNTED},
    is_closed_from_outside: 2,
    is_closed_unread: 3,
    is_told_from_a_thread: 2,
    stops_reading: 2,
}
