"""The process of the clients: it keeps a server busy as it is told, and reads what CPU time that cost the server.

A client knows no more of its protocol than it needs, so that it keeps up with any server. Each request, message or
session waits for its answer before the next, on several connections at once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.processes.obeying import Command, obey
from benchmarks.processes.servers import cpu
from benchmarks.scenarios import Headers, Scenario, find

PATIENCE = 60.0  # Seconds for what takes longest: a limit against a hang.
AT_ONCE = 100  # How many handshakes are under way at a time.

# RFC 6455, section 5.2: the opcode, and that it is one frame.
TEXT, BYTES, CLOSE = 0x81, 0x82, 0x88
GOODBYE = bytes((CLOSE, 0x82, 0, 0, 0, 0)) + (1000).to_bytes(2)  # A frame from a client, masked by zeros.

Until = Callable[[bytes], int]


class WrongAnswer(Exception):
    """The server did not do what is measured."""


def request(scenario: Scenario) -> bytes:
    """A request, or a handshake, as it goes over the wire."""
    scope = scenario.scope()
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    first = b"%b %b%b HTTP/1.1" % (scope.get("method", "GET").encode(), scope["raw_path"], query)
    lines = [first, *(b"%b: %b" % header for header in scope["headers"])]
    return b"\r\n".join(lines) + b"\r\n\r\n" + b"".join(scenario.pieces)


def from_client(message: str | bytes) -> bytes:
    """A frame of less than 126 bytes, masked by zeros."""
    kind, payload = (TEXT, message.encode()) if isinstance(message, str) else (BYTES, message)
    return bytes((kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def from_server(message: str | bytes) -> bytes:
    """The same frame the other way, which has no mask."""
    kind, payload = (TEXT, message.encode()) if isinstance(message, str) else (BYTES, message)
    return bytes((kind, len(payload))) + payload


def exactly(size: int) -> Until:
    """An answer of so many bytes."""
    return lambda data: size if len(data) >= size else 0


def head(data: bytes) -> int:
    """The head of an answer."""
    return data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0


def whole(data: bytes) -> int:
    """An answer with its body, the only one there is."""
    size = head(data)
    if not size:
        return 0
    told = data[:size].lower().partition(b"content-length:")[2]
    if told:
        size += int(told.split()[0])
        return size if len(data) >= size else 0
    return len(data) if data.endswith(b"0\r\n\r\n") else 0


def body(data: bytes) -> bytes:
    """The body of an answer, which may come in chunks."""
    start = head(data)
    rest = data[start:]
    if b"content-length:" in data[:start].lower():
        return rest
    chunks = b""
    while size := int(rest.partition(b"\r\n")[0], 16):
        rest = rest.partition(b"\r\n")[2]
        chunks, rest = chunks + rest[:size], rest[size + 2 :]
    return chunks


def fields(data: bytes) -> Headers:
    """The header fields of an answer, names in lower case."""
    lines = data[: head(data)].split(b"\r\n")[1:-2]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


class Connection(asyncio.Protocol):
    """One connection, on which one answer at a time is waited for.

    Attributes:
        lost: Done when it has ended.
    """

    def __init__(self) -> None:
        self._data = b""
        self._until: Until | None = None
        self._then: Callable[[bytes], None]
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._until is not None and (size := self._until(self._data)):
            answer, self._data = self._data[:size], self._data[size:]
            self._until = None
            self._then(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def say(self, data: bytes, until: Until, then: Callable[[bytes], None]) -> None:
        """Send something, and call when the answer is whole."""
        self._until, self._then = until, then
        self._transport.write(data)

    async def ask(self, data: bytes, until: Until) -> bytes:
        """Send something, and wait for the answer."""
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.say(data, until, answered.set_result)
        await asyncio.wait((answered, self.lost), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise WrongAnswer(f"no answer, or the connection ended, after {self._data[:200]!r}")
        return answered.result()

    def close(self) -> None:
        self._transport.abort()


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def shake_hands(port: int, scenario: Scenario) -> Connection:
    """An open WebSocket."""
    connection = await connect(port)
    answer = await connection.ask(request(scenario), head)
    if not answer.startswith(b"HTTP/1.1 101 "):
        connection.close()
        raise WrongAnswer(f"the handshake was answered {answer!r}")
    return connection


async def open_some(port: int, scenario: Scenario, count: int) -> list[Connection]:
    """Open so many WebSockets, a few at a time."""
    may_begin = asyncio.Semaphore(AT_ONCE)

    async def open_one() -> Connection:
        async with may_begin:
            return await shake_hands(port, scenario)

    return list(await asyncio.gather(*(open_one() for _ in range(count))))


class Rally:
    """The same exchange over and over on many connections, until time is up.

    Attributes:
        count: How many answers there were.
        wrong: The first that was wrong.
    """

    def __init__(self, connections: list[Connection], ask: bytes, until: Until, end: bytes) -> None:
        self._connections = connections
        self._ask, self._until, self._end = ask, until, end
        self._playing = 0
        self._goes_on = True
        self._over = asyncio.Event()
        self.count = 0
        self.wrong: bytes | None = None

    async def play(self, seconds: float) -> None:
        """Begin on all connections, and return when each has its last answer."""
        for connection in self._connections:
            self._serve(connection)
        await asyncio.sleep(seconds)
        self._goes_on = False
        async with asyncio.timeout(PATIENCE):
            await self._over.wait()

    def _serve(self, connection: Connection) -> None:
        self._playing += 1
        connection.say(self._ask, self._until, lambda answer: self._returned(connection, answer))

    def _returned(self, connection: Connection, answer: bytes) -> None:
        self.count += 1
        self._playing -= 1
        if not answer.endswith(self._end):
            self.wrong = self.wrong or answer
        if self._goes_on:
            self._serve(connection)
        elif not self._playing:
            self._over.set()


async def rally(process: int, connections: list[Connection], rally: Rally, seconds: float) -> float:
    """The CPU time of the server for one answer, in nanoseconds."""
    before = cpu(process)
    await rally.play(seconds)
    after = cpu(process)
    for connection in connections:
        connection.close()
    if rally.wrong is not None:
        raise WrongAnswer(f"answered {rally.wrong!r}")
    return (after - before) / rally.count


async def messages(process: int, port: int, scenario: Scenario, connections: int, seconds: float) -> float:
    """Messages and their answers on open WebSockets."""
    opened = await open_some(port, scenario, connections)
    expected = from_server(scenario.message)
    game = Rally(opened, from_client(scenario.message), exactly(len(expected)), expected)
    return await rally(process, opened, game, seconds)


async def requests(process: int, port: int, scenario: Scenario, connections: int, seconds: float) -> float:
    """Requests on connections that stay."""
    opened = [await connect(port) for _ in range(connections)]
    wanted = scenario
    if scenario.login:
        first = await opened[0].ask(request(scenario.before()), whole)
        wanted = scenario.for_visitor(fields(first))
    ask = request(wanted)
    answer = [await connection.ask(ask, whole) for connection in opened][-1]
    right = answer.startswith(b"HTTP/1.1 200 ") and scenario.is_answered_by(body(answer))
    if not right or not scenario.has_added(fields(answer)):
        for connection in opened:
            connection.close()
        raise WrongAnswer(f"answered {answer[:1000]!r}")
    # From then on an answer is known by its length and its end; but a cookie may be renewed in between.
    until = whole if scenario.login else exactly(len(answer))
    game = Rally(opened, ask, until, answer[head(answer) :])
    return await rally(process, opened, game, seconds)


async def sessions(process: int, port: int, scenario: Scenario, connections: int, seconds: float) -> float:
    """Whole WebSockets, one after the other on each of several lanes."""
    count = 0
    ends_at = time.monotonic() + seconds
    expected = from_server(str(scenario.expected))

    async def lane() -> None:
        nonlocal count
        while time.monotonic() < ends_at:
            connection = await shake_hands(port, scenario)
            with closing(connection):
                answer = await connection.ask(from_client(scenario.message), exactly(len(expected)))
                if answer != expected:
                    raise WrongAnswer(f"answered {answer!r}")
                await connection.ask(GOODBYE, exactly(2))
                await connection.lost
            count += 1

    before = cpu(process)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(lane() for _ in range(connections)))
    return (cpu(process) - before) / count


KINDS = {"message": messages, "request": requests, "session": sessions}


async def measure(scenario: str, **order: Any) -> float:
    """The CPU time of the server for one operation of a scenario, in nanoseconds."""
    found = find(scenario)
    return await KINDS[found.kind](scenario=found, **order)


class Crowds:
    """WebSockets that stay open, at several servers."""

    def __init__(self) -> None:
        self._open: dict[int, list[Connection]] = {}

    async def gather(self, port: int, path: str, count: int) -> int:
        """Open so many more, and return how many are open."""
        crowd = self._open.setdefault(port, [])
        crowd += await open_some(port, Scenario("", "", "session", path, ""), count)
        return len(crowd)

    async def broadcast(self, process: int, port: int, times: int) -> float:
        """Have a message sent to all, and return the CPU time of the server for each that got it, in nanoseconds."""
        crowd = self._open[port]
        message = "a message to everybody"
        expected = from_server(message)
        before = cpu(process)
        for _ in range(times):
            got = [
                connection.ask(
                    from_client(message) if connection is crowd[0] else b"", exactly(len(expected))
                )
                for connection in crowd
            ]
            if set(await asyncio.gather(*got)) != {expected}:
                raise WrongAnswer("somebody got another message")
        return (cpu(process) - before) / times / len(crowd)

    async def disperse(self, port: int) -> None:
        """Close them all."""
        for connection in self._open.pop(port):
            connection.close()


def main() -> None:
    crowds = Crowds()
    commands: dict[str, Command] = {
        "measure": measure,
        "gather": crowds.gather,
        "broadcast": crowds.broadcast,
        "disperse": crowds.disperse,
    }
    obey(commands, int(sys.argv[1]))


if __name__ == "__main__":
    main()
