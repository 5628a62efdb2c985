"""Open many WebSockets to one uvicorn process, send a message to all, end the process, and see what each of them cost.

The same is done with a raw ASGI app, with a handler of MicroPie's, and with one that has a middleware. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

#: What is measured, all in socket_apps.py, and what each app counts once for each socket.
APPS = {
    "raw": ("opened", "finally"),
    "plain": ("opened", "finally"),
    "hooked": ("opened", "finally", "after_websocket"),
}
SERVER = "--ws websockets-sansio --ws-per-message-deflate false --no-access-log --log-level warning"

AT_ONCE = 200  # How many handshakes are under way at a time.
BY_ADDRESS = 5000  # How many sockets one address of the client has; each has its own ports.
PATIENCE = 120.0  # Seconds for one step on a busy machine: a limit against a hang.
EXIT_WITHIN = 5.0  # Seconds from SIGTERM until the process is gone, with --check.
SPARE_FILES = 200  # What the process itself has open.

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MESSAGE = b"a message to everybody"
# RFC 6455, section 5.2: the opcode, and that it is one frame.
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


@dataclass
class Result:
    """What was seen with one app: what it cost, and for how many sockets all went well."""

    app: str
    sockets: int
    bytes_per_socket: int
    broadcast_seconds: float
    exit_seconds: float
    got_message: int
    close_codes: dict[int, int]
    counted: dict[str, int]

    def is_complete(self) -> bool:
        """Whether each socket got the message and close code 1012, and none of the handlers was cut off."""
        return (
            self.got_message == self.sockets
            and self.close_codes == {1012: self.sockets}
            and self.counted == dict.fromkeys(APPS[self.app], self.sockets)
        )


class Crowd:
    """What has come in on all sockets together, and a way to wait for it."""

    def __init__(self) -> None:
        self.open: list[Socket] = []
        self.messages = 0
        self.close_codes: Counter[int] = Counter()
        self.ended = 0
        self._changed = asyncio.Event()

    def note(self) -> None:
        self._changed.set()

    async def wait_until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._changed.clear()
                await self._changed.wait()


class Socket(asyncio.Protocol):
    """A client that knows just enough of the protocol, and costs little beside the server."""

    __slots__ = ("_buffer", "_crowd", "_transport", "accepted")

    def __init__(self, crowd: Crowd, accepted: asyncio.Future[None]) -> None:
        self._crowd = crowd
        self._buffer = b""
        self.accepted = accepted

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.accepted.done():
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.accepted.set_exception(RuntimeError(f"the handshake was answered {head!r}"))
                return
            self._buffer = rest
            self._crowd.open.append(self)
            self.accepted.set_result(None)
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            # No frame here has 126 bytes, and those of a server have no mask.
            end = 2 + self._buffer[1]
            self._take(self._buffer[0], self._buffer[2:end])
            self._buffer = self._buffer[end:]

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == TEXT and payload == MESSAGE:
            self._crowd.messages += 1
        elif kind == PING:
            self.send(PONG, payload)
        elif kind == CLOSE:
            self._crowd.close_codes[int.from_bytes(payload[:2])] += 1
            self.send(CLOSE, payload[:2])
        self._crowd.note()

    def send(self, kind: int, payload: bytes) -> None:
        """Send a frame, masked by zeros."""
        self._transport.write(bytes((kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(error or RuntimeError("the server closed the connection"))
        self._crowd.ended += 1
        self._crowd.note()


async def measure(app: str, sockets: int) -> Result:
    """Open the sockets to an app, send a message to all, end the server."""
    with socket.create_server(("127.0.0.1", 0), backlog=2 * AT_ONCE) as listener:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", *SERVER.split(), "--fd", str(listener.fileno())),
            *("--app-dir", str(Path(__file__).parent), f"socket_apps:{app}"),
            pass_fds=[listener.fileno()],
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            return await _measure(app, sockets, server, listener.getsockname()[1])
        finally:
            if server.returncode is None:
                server.kill()
                await server.wait()


async def _measure(app: str, sockets: int, server: asyncio.subprocess.Process, port: int) -> Result:
    crowd = Crowd()
    await open_sockets(crowd, 1, port)  # the server is up, and has imported what it needs
    before = resident(server.pid)
    await open_sockets(crowd, sockets - 1, port)
    grown = resident(server.pid) - before

    began = perf_counter()
    crowd.open[0].send(TEXT, MESSAGE)
    await crowd.wait_until(lambda: crowd.messages >= sockets)
    broadcast = perf_counter() - began

    began = perf_counter()
    server.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        output, _ = await server.communicate()
    ended = perf_counter() - began
    await crowd.wait_until(lambda: crowd.ended == sockets)
    return Result(
        app=app,
        sockets=sockets,
        bytes_per_socket=round(grown / max(sockets - 1, 1)),
        broadcast_seconds=round(broadcast, 3),
        exit_seconds=round(ended, 3),
        got_message=crowd.messages,
        close_codes=dict(crowd.close_codes),
        counted=json.loads(output.splitlines()[-1]),
    )


async def open_sockets(crowd: Crowd, count: int, port: int) -> None:
    """Open so many more, a few at a time."""
    loop = asyncio.get_running_loop()
    may_begin = asyncio.Semaphore(AT_ONCE)

    async def open_one(number: int) -> None:
        async with may_begin:
            accepted = loop.create_future()
            address = f"127.0.0.{1 + number // BY_ADDRESS}"
            await loop.create_connection(
                lambda: Socket(crowd, accepted), "127.0.0.1", port, local_addr=(address, 0)
            )
            await accepted

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(open_one(number))


def resident(process: int) -> int:
    """The memory that a process has in RAM, in bytes."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def raise_file_limit(sockets: int) -> int:
    """Let this process and its children open so many files, and return how many sockets that gives."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return sockets if most == resource.RLIM_INFINITY else min(sockets, most - SPARE_FILES)


def show(results: list[Result]) -> None:
    print(f"{'app':8} {'sockets':>8} {'bytes each':>10} {'broadcast':>10} {'exit':>8}  seen")
    for result in results:
        seen = f"{result.got_message} messages, close {result.close_codes}, {result.counted}"
        print(
            f"{result.app:8} {result.sockets:8} {result.bytes_per_socket:10} "
            f"{result.broadcast_seconds:8.2f} s {result.exit_seconds:6.2f} s  {seen}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=10_000, help="how many to open (10,000)")
    parser.add_argument("--apps", nargs="+", choices=APPS, default=list(APPS), help="of socket_apps.py (all)")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail unless each socket was served to its end, and the process left in time",
    )
    options = parser.parse_args()
    possible = raise_file_limit(options.sockets)
    if possible < options.sockets:
        print(f"the limit of open files (ulimit -Hn) allows {possible} sockets", file=sys.stderr)
        if os.environ.get("CI"):
            return 1
    results = [asyncio.run(measure(app, possible)) for app in options.apps]
    show(results)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", "utf-8")
    if options.check and not all(map(Result.is_complete, results)):
        print("not each socket was served to its end", file=sys.stderr)
        return 1
    late = [result.app for result in results if result.exit_seconds > EXIT_WITHIN]
    if options.check and late:
        print(f"more than {EXIT_WITHIN:.0f} s from SIGTERM to the end: {late}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
