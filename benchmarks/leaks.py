"""Visit one uvicorn process 100,000 times in every way there is, and see whether anything is left of it.

A visit begins a session or comes back to one, sends forms, JSON and uploads, reads streams and talks over
WebSockets; handlers fail, and clients leave in the middle.  In between, when nothing is under way, the process
says what it holds.  Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import statistics
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

SERVER = "--no-access-log --log-level critical"
PATIENCE = 60.0  # Seconds for one visit on a busy machine: a limit against a hang.
AT_ONCE = 8  # How many visitors there are at a time.
SAMPLES = (
    11  # How often the process says what it holds: at the beginning, and after each tenth of the visits.
)
#: How many samples are left out, while caches fill; and how many of the rest, the first and the last, are compared
#: by their medians.
WARM_UP, COMPARED = 2, 3

#: By how much what the process holds may grow, from after the warm-up to the end. Objects are those that the garbage
#: collector knows. Of 100,000 requests 60,000 lie between: 2 MiB are 35 bytes for each, less than a Python object has.
#: A sync handler gets a thread more when all are busy, so there may come to be one for each visitor.
BOUNDS = {
    "resident": 2 * 1024 * 1024,
    "objects": 500,
    "tasks": 0,
    "threads": AT_ONCE,
    "files": 0,
    "sockets": 0,
}

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "leaks"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
# RFC 6455, section 5.2: the opcode, and that it is one frame.
TEXT, CLOSE = 0x81, 0x88


class Visitor:
    """A client with one connection, and the session's cookie once it has got one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._cookie = ""

    async def ask(self, target: str, kind: str = "", body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request, and return status and body of the answer; a body that has no end ends with the connection."""
        self.begin(target, kind, body)
        return await self.answer()

    def begin(self, target: str, kind: str = "", body: bytes | None = None, missing: int = 0) -> None:
        """Send a request, or all of it but the last bytes."""
        method, fields = "GET", ""
        if body is not None:
            method, fields = "POST", f"Content-Type: {kind}\r\nContent-Length: {len(body) + missing}\r\n"
        self._send_head(method, target, fields, body or b"")

    def _send_head(self, method: str, target: str, fields: str, body: bytes = b"") -> None:
        head = f"{method} /{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self._cookie}{fields}\r\n"
        self._writer.write(head.encode() + body)

    async def answer(self) -> tuple[int, bytes]:
        """The answer to what was sent."""
        status, fields = await self._read_head()
        if "content-length" in fields:
            return status, await self._reader.readexactly(int(fields["content-length"]))
        body = b""
        try:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return status, body + b" and no end"
        return status, body

    async def some(self) -> int:
        """The status of an answer whose body has begun."""
        status, _ = await self._read_head()
        await self._reader.readuntil(b"begun")
        return status

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {
            name.lower(): value for name, value in re.findall(r"^([^:\r\n]+): (.*)\r$", head, re.MULTILINE)
        }
        if "set-cookie" in fields:
            self._cookie = f"Cookie: {fields['set-cookie'].partition(';')[0]}\r\n"
        return int(head.split()[1]), fields

    async def open(self, target: str, fields: str = "") -> int:
        """Ask for a WebSocket, and return the status: 101 if it is open."""
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        self._send_head("GET", target, upgrade + key + fields)
        return (await self._read_head())[0]

    def say(self, kind: int, payload: bytes) -> None:
        """Send a frame, masked by zeros."""
        self._writer.write(bytes((kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    async def hear(self) -> tuple[int, bytes]:
        """The next frame: its kind and its payload."""
        kind, size = await self._reader.readexactly(2)
        return kind, await self._reader.readexactly(size)

    def vanish(self) -> None:
        """Leave without a word, as a client that crashes does."""
        self._writer.transport.abort()

    async def leave(self) -> None:
        """Close the connection in good order."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


def expect(seen: Any, expected: Any) -> None:
    """Stop at an answer that is not the right one: nothing is measured then."""
    if seen != expected:
        raise RuntimeError(f"the server answered {seen!r}, not {expected!r}")


# --- the visits -----------------------------------------------------------------------------------------


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
}

# --- what is left of them -------------------------------------------------------------------------------


@dataclass
class Sample:
    """What the process held after so many requests and sockets: bytes, and numbers."""

    requests: int
    resident: int
    objects: int
    tasks: int
    threads: int
    files: int
    sockets: int
    sessions: int  # in the store
    begun: int  # since the beginning


def growth(samples: list[Sample]) -> dict[str, float]:
    """By how much the process has grown after the warm-up."""
    warm = samples[WARM_UP:]
    first, last = warm[:COMPARED], warm[-COMPARED:]
    return {
        name: statistics.median(getattr(sample, name) for sample in last)
        - statistics.median(getattr(sample, name) for sample in first)
        for name in BOUNDS
    }


def leaks(samples: list[Sample]) -> list[str]:
    """What has grown by more than its bound, and tasks and sockets that were never done."""
    grown = [name for name, more in growth(samples).items() if more > BOUNDS[name]]
    left = [name for name in ("tasks", "sockets") if any(getattr(sample, name) for sample in samples)]
    return sorted({*grown, *left})


async def measure(requests: int, app: str = "app") -> list[Sample]:
    """Make so many requests and sockets, and ask in between what is left of them."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", *SERVER.split(), "--fd", str(listener.fileno())),
            *("--app-dir", str(Path(__file__).parent), f"leak_apps:{app}"),
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
        try:
            visits, made, samples = cycle(VISITS), 0, [await ask_what_is_left(port, 0)]
            a_round = -(-requests // ((SAMPLES - 1) * sum(VISITS.values()))) * len(VISITS)
            for _ in range(SAMPLES - 1):
                planned = list(islice(visits, a_round))
                await make(planned, port)
                made += sum(VISITS[visit] for visit in planned)
                samples.append(await ask_what_is_left(port, made))
            return samples
        finally:
            server.kill()
            await server.wait()


async def make(planned: list[Callable[[Visitor], Awaitable[None]]], port: int) -> None:
    """Make visits, some at a time."""
    left = iter(planned)

    async def one_after_the_other() -> None:
        for visit in left:
            await on_a_connection(visit, port)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


async def on_a_connection(visit: Callable[[Visitor], Awaitable[Any]], port: int) -> Any:
    visitor = Visitor(*await asyncio.open_connection("127.0.0.1", port))
    try:
        async with asyncio.timeout(PATIENCE):
            return await visit(visitor)
    finally:
        await visitor.leave()


async def ask_what_is_left(port: int, requests: int) -> Sample:
    _, body = await on_a_connection(lambda visitor: visitor.ask("left"), port)
    return Sample(requests, **json.loads(body))


def show(samples: list[Sample]) -> None:
    names = [*BOUNDS, "sessions", "begun"]
    print(f"{'requests':>9} " + " ".join(f"{name:>10}" for name in names))
    for sample in samples:
        print(f"{sample.requests:9} " + " ".join(f"{getattr(sample, name):10}" for name in names))
    print(f"{'growth':>9} " + " ".join(f"{more:10.0f}" for more in growth(samples).values()))
    print(f"{'at most':>9} " + " ".join(f"{bound:10}" for bound in BOUNDS.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="how many, sockets included (100,000)")
    parser.add_argument("--app", default="app", help="of leak_apps.py (app; leaky keeps everything)")
    parser.add_argument("--json", type=Path, help="write the samples to this file too")
    parser.add_argument("--check", action="store_true", help="fail if the process has grown")
    options = parser.parse_args()
    began = perf_counter()
    samples = asyncio.run(measure(options.requests, options.app))
    show(samples)
    last = samples[-1]
    print(f"{last.requests} requests and sockets, {last.begun} sessions, in {perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=2) + "\n", "utf-8")
    found = leaks(samples)
    if options.check and found:
        print(f"the process has grown: {', '.join(found)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
