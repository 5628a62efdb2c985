"""What each framework does, seen from outside: one app for each, the same questions to all.

The apps are written as each framework's own documentation writes them, and no setting is changed from its default.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.servers.client import Client
from tests.serving import PATIENCE, Server

HERE = Path(__file__).parent
APPS = HERE / "apps"
SEEN = HERE / "seen.json"
ROWS: dict[str, dict[str, dict[str, str]]] = tomllib.loads((HERE / "rows.toml").read_text(encoding="utf-8"))
PARTS = ROWS.pop("parts")

# The distributions whose versions tell of a framework; aiohttp has a server of its own.
PEERS = {
    "micropie": ["micropie", "uvicorn"],
    "starlette": ["starlette", "uvicorn"],
    "fastapi": ["fastapi", "starlette", "uvicorn"],
    "litestar": ["litestar", "uvicorn"],
    "quart": ["quart", "uvicorn"],
    "falcon": ["falcon", "uvicorn"],
    "channels": ["channels", "django", "uvicorn"],
    "aiohttp": ["aiohttp"],
}

MIB = 1024 * 1024
SIZES = (2, 5, 12, 20, 40)  # MiB of a body or a message, from one framework's default limit to the next one's
SILENCE = 4.0  # Seconds after which an answer that has not come is none.


def versions(peer: str) -> dict[str, str]:
    return {name: version(name) for name in PEERS[peer]}


def dependencies(peer: str) -> int:
    """How many other distributions a plain install brings."""
    ahead = [name for name in PEERS[peer] if name not in ("uvicorn", "starlette") or name == peer]
    own, found = set(ahead), set[str]()
    while ahead:
        for line in distribution(ahead.pop()).requires or ():
            needed = Requirement(line)
            name = canonicalize_name(needed.name)
            if name not in found and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
                found.add(name)
                ahead.append(name)
    return len(found - own)


@contextmanager
def served(peer: str) -> Iterator[Server]:
    """Run a framework's app; its tracebacks are its own business."""
    command = "python aiohttp_app.py" if peer == "aiohttp" else f"uvicorn {peer}_app:app"
    server = Server(APPS, command)
    try:
        server.start()
        yield server
    except BaseException as error:
        error.add_note(f"{server} wrote:\n{server.log()}")
        raise
    finally:
        server.close()


def observe(peer: str) -> dict[str, Any]:
    """What a framework does, for each question, with what it was seen."""
    return {"versions": versions(peer), "dependencies": dependencies(peer), "seen": answers(peer)}


def answers(peer: str) -> dict[str, str]:
    """What a framework does, for each question."""
    with served(peer) as server:
        without = WITHOUT.get(peer, {})
        return {name: without.get(name) or see(server) for name, see in QUESTIONS.items()}


# What there is to see of a WebSocket


def handshake(client: Client) -> str:
    """The answer to a handshake."""
    client.socket.settimeout(SILENCE)
    try:
        return "accepted" if client.accepted else f"HTTP {client.response.status_code}"
    except TimeoutError:
        return "no answer"
    except StopIteration:
        return "the connection breaks"


def ending(client: Client) -> str:
    """The end of a connection that was accepted, after what was said before."""
    shaken = handshake(client)
    if shaken != "accepted":
        return shaken
    try:
        for _ in client:
            pass
    except TimeoutError:
        return "stays open"
    return close_of(client)


def close_of(client: Client) -> str:
    return "no close frame (1006)" if client.close is None else f"close {client.close[0]}"


def connect(server: Server, path: str, origin: str | None = None) -> Client:
    """Ask for a WebSocket as a page of the app's own does, or one of another origin."""
    return Client(server, path, path, origin=origin or server.url.rstrip("/"))


def opened(server: Server, path: str) -> Client:
    """A WebSocket that is open."""
    client = connect(server, path)
    assert handshake(client) == "accepted"
    return client


def asks(server: Server, *, path: str, origin: str | None = None) -> str:
    with connect(server, path, origin) as client:
        return handshake(client)


def ends(server: Server, *, path: str) -> str:
    with connect(server, path) as client:
        return ending(client)


def note(server: Server, case: str) -> str:
    """What the handler has told."""
    server.wait_for_log(f"@{case} ")
    found = re.search(rf"^@{case} (.+)$", server.log(), re.MULTILINE)
    assert found
    return found[1]


def leaves_while_it_receives(server: Server) -> str:
    with opened(server, "listen") as client:
        client.leave(4001, "bye")
    return note(server, "left")


def receives_again(server: Server) -> str:
    return note(server, "again")  # It is the same handler, which goes on.


def leaves_while_it_sends(server: Server) -> str:
    with opened(server, "tell") as client:
        client.say_goodbye(4001, "bye")
        # When these have been answered, the server has read the goodbye.
        for path in ("open/nothing", "open/nothing", "open/tell"):
            httpx.get(server.url + path).raise_for_status()
        return note(server, "tell")


def sends_bytes_for_text(server: Server) -> str:
    with opened(server, "text") as client:
        client.send(b"pie")
        answer = client.receive()
        return close_of(client) if answer is None else f"the handler gets {answer}"


def largest_message(server: Server) -> str:
    for size in SIZES:
        with opened(server, "size") as client:
            client.socket.settimeout(PATIENCE)
            with suppress(OSError):  # a server may close while this is still on its way
                client.send(bytes(size * MIB))
            if client.receive() != str(size * MIB):
                return f"{size} MiB are refused"
    return "any"


# What there is to see over HTTP


def needs(server: Server) -> str:
    return f"HTTP {httpx.get(server.url + 'need').status_code}"


def largest_body(server: Server) -> str:
    for size in SIZES:
        try:
            answer = httpx.post(
                server.url + "body",
                content=bytes(size * MIB),
                headers={"Content-Type": "application/octet-stream"},
                timeout=PATIENCE,
            )
        except httpx.HTTPError as error:
            return f"{size} MiB: {type(error).__name__}"
        if answer.status_code >= 400:
            return f"{size} MiB: HTTP {answer.status_code}"
        assert answer.text == str(size * MIB)
    return "any"


def leaves_a_stream(server: Server) -> str:
    with httpx.stream("GET", server.url + "stream") as answer:
        assert next(answer.iter_raw()) == b"first\n"
    httpx.get(server.url + "open/stream").raise_for_status()
    return note(server, "stream")


def blocks(server: Server) -> str:
    if "@block " in server.log():
        return note(server, "block")

    async def both() -> str:
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            async with asyncio.TaskGroup() as group:
                blocked = group.create_task(client.get("block"))
                await asyncio.sleep(
                    0.2
                )  # Whether the first one is under way decides nothing but the way to the answer.
                group.create_task(client.get("open/block"))
            return {"went on": "others go on", "waited in vain": "all others wait"}[blocked.result().text]

    return asyncio.run(both())


def overlaps(server: Server) -> str:
    """Two requests that overlap put one key each into a session."""

    async def both() -> str:
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            (await client.get("remember/first")).raise_for_status()
            async with asyncio.TaskGroup() as group:
                slow = group.create_task(client.get("remember/slow"))
                await asyncio.to_thread(server.wait_for_log, "@remember begun")
                (await client.get("remember/fast")).raise_for_status()
                (await client.get("open/remember")).raise_for_status()
            slow.result().raise_for_status()
            kept = set((await client.get("session")).text.split())
            lost = {"first", "slow", "fast"} - kept
            return f"the {' and the '.join(sorted(lost))} one is lost" if lost else "both are kept"

    return asyncio.run(both())


def describes_itself(server: Server) -> str:
    for path in ("openapi.json", "schema/openapi.json"):
        answer = httpx.get(server.url + path)
        if answer.status_code == 200 and "openapi" in answer.json():
            return "yes"
    return "no"


def validates(server: Server) -> str:
    """A JSON body is declared with a field that is a number; what comes is not."""
    return f"HTTP {httpx.post(server.url + 'item', json={'price': 'dear'}).status_code}"


Question: TypeAlias = Callable[[Server], str]

QUESTIONS: dict[str, Question] = {
    "no_route": partial(asks, path="nowhere"),
    "foreign_origin": partial(asks, path="returns", origin="https://evil.example"),
    "missing_ws_argument": partial(asks, path="named"),
    "error_before_accept": partial(asks, path="early"),
    "silent": partial(asks, path="silent"),
    "returns": partial(ends, path="returns"),
    "error_after_accept": partial(ends, path="fails"),
    "left": leaves_while_it_receives,
    "again": receives_again,
    "tell": leaves_while_it_sends,
    "bytes_for_text": sends_bytes_for_text,
    "large_message": largest_message,
    "missing_argument": needs,
    "large_body": largest_body,
    "stream": leaves_a_stream,
    "sync": blocks,
    "session": overlaps,
    "openapi": describes_itself,
    "model": validates,
}

# What a framework does not have, so that it cannot be asked.
BY_HAND, NO_SESSIONS = "by hand", "no sessions of its own"
WITHOUT: dict[str, dict[str, str]] = {
    "micropie": {"model": BY_HAND},
    "starlette": {"model": BY_HAND},
    "quart": {"model": BY_HAND, "again": "-"},  # its handler is cancelled
    "falcon": {"model": BY_HAND, "session": NO_SESSIONS},
    # A consumer has methods that are called; it neither loops nor returns.
    "channels": {"model": BY_HAND, "returns": "-", "again": "-"},
    "aiohttp": {"model": BY_HAND, "session": NO_SESSIONS},
}
