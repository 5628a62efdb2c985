"""The page about Socket.IO, and sessions in Redis: a real server, python-socketio's client, a real Redis."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import socketio

from tests.redis_server import redis_server
from tests.running import own_temporary_files
from tests.serving import PATIENCE, Server, serve
from tools.blocks import DOCS, blocks, find_run

PAGE = DOCS / "howto" / "socketio.rst"
STORES = DOCS / "howto" / "session-stores.rst"

POLLING = "socket.io/?EIO=4&transport=polling"
WEBSOCKET = "socket.io/?EIO=4&transport=websocket"


@contextmanager
def run_block(
    name: str, folder: Path, page: Path = PAGE, own_errors: Collection[str] = ()
) -> Iterator[Server]:
    """Serve a named block, in one process: what the page says of several is said of two servers."""
    run = find_run(page, name)
    run.write(folder)
    with serve(folder, re.sub(" --workers [0-9]+$", "", run.command), own_errors=own_errors) as server:
        yield server


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=PATIENCE, **options)


def log_in(server: Server, name: str) -> str:
    """The session's cookie of somebody who has come in."""
    answer = httpx.post(f"{server.url}login", data={"name": name}, timeout=PATIENCE)
    assert answer.status_code == 303
    return answer.headers["Set-Cookie"].partition(";")[0]


def log_out(server: Server, cookie: str) -> None:
    assert httpx.post(f"{server.url}logout", headers={"Cookie": cookie}, timeout=PATIENCE).status_code == 303


class Talker:
    """A client, and what it was told."""

    def __init__(self, client: socketio.AsyncClient) -> None:
        self.client = client
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for event in ("said", "noted", "news", "visits", "connect_error"):
            client.on(event, lambda what, event=event: self.told.put_nowait((event, what)))
        client.on("disconnect", lambda reason: self.told.put_nowait(("disconnect", reason)))

    async def hear(self) -> tuple[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self.told.get()


@asynccontextmanager
async def talker(server: Server, cookie: str = "", **options: Any) -> Any:
    # The session sends the cookie with each request, as a browser does; the argument `headers` is for the first only.
    async with aiohttp.ClientSession(headers={"Cookie": cookie} if cookie else {}) as http:
        client = socketio.AsyncClient(reconnection=False, http_session=http)
        found = Talker(client)
        try:
            await client.connect(server.url, **options, wait_timeout=PATIENCE)
            yield found
        finally:
            await client.disconnect()


def run(talk: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(talk())


WAYS = [["websocket"], ["polling", "websocket"]]


def ask_by_http(server: Server, cookie: str) -> str:
    """What comes back when a client connects by HTTP alone: Socket.IO's own packets.

    python-socketio's client would stay in its long poll for 30 seconds before it is gone.
    """
    with httpx.Client(base_url=server.url, headers={"Cookie": cookie}, timeout=PATIENCE) as client:
        [sid] = re.findall('"sid":"(.+?)"', client.get(POLLING).text)
        assert client.post(f"{POLLING}&sid={sid}", content="40").text == "OK"
        return client.get(f"{POLLING}&sid={sid}").text


@pytest.mark.parametrize("transports", WAYS, ids="+".join)
def test_it_knows_who_is_there(transports: list[str], tmp_path: Path) -> None:
    with run_block("socketio-app", tmp_path) as server:

        async def talk() -> None:
            alice, bob = log_in(server, "alice"), log_in(server, "bob")
            async with AsyncExitStack() as stack:
                page, other, bobs = [
                    await stack.enter_async_context(talker(server, cookie, transports=transports))
                    for cookie in (alice, alice, bob)
                ]
                assert await page.client.call("say", "hi", timeout=PATIENCE) == "told"
                for client in (page, other, bobs):
                    assert await client.hear() == ("said", {"user": "alice", "text": "hi"})
                await page.client.emit("note", "milk")
                await bobs.client.emit("say", "hello")
                assert await other.hear() == ("noted", "milk")
                for client in (page, other, bobs):  # Neither the page itself nor Bob had the note.
                    assert await client.hear() == ("said", {"user": "bob", "text": "hello"})
                await asyncio.to_thread(log_out, server, alice)
                for client in (page, other):
                    assert (await client.hear())[0] == "disconnect"
                assert await bobs.client.call("say", "still here", timeout=PATIENCE) == "told"

        run(talk)


def test_it_knows_who_is_there_by_http_too(tmp_path: Path) -> None:
    with run_block("socketio-app", tmp_path) as server:
        assert ask_by_http(server, log_in(server, "alice")).startswith('40{"sid":')
        assert ask_by_http(server, "") == '44{"message":"Please log in."}'


@pytest.mark.parametrize("transports", WAYS, ids="+".join)
def test_nobody_comes_in_without_a_login(transports: list[str], tmp_path: Path) -> None:
    with run_block("socketio-app", tmp_path) as server:

        async def talk() -> None:
            for cookie in ("", "session_id=0123456789abcdef0123456789abcdef"):
                with pytest.raises(socketio.exceptions.ConnectionError, match=r"failed to connect: /$"):
                    async with talker(server, cookie, transports=transports):
                        pass

        run(talk)


@pytest.mark.parametrize("transports", WAYS, ids="+".join)
def test_wrapped_it_reads_the_session_of_the_pages(transports: list[str], tmp_path: Path) -> None:
    with run_block("socketio-around-app", tmp_path) as server:

        async def talk() -> None:
            cookie = get(server.url).headers["Set-Cookie"].partition(";")[0]
            get(server.url, headers={"Cookie": cookie})
            for known, visits in {cookie: 2, "": 0, "session_id=unknown": 0}.items():
                async with talker(server, known, transports=transports) as client:
                    assert await client.hear() == ("visits", visits)

        run(talk)


# Origins


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def statuses(server: Server, origin: str) -> tuple[int, int]:
    """What a page of ``origin`` gets: by HTTP, and for a WebSocket."""
    headers = {"Host": "127.0.0.1:8000", "Origin": origin}
    by_http = get(server.url + POLLING, headers=headers).status_code
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
        connection.request("GET", f"/{WEBSOCKET}", headers=headers | HANDSHAKE)
        return by_http, connection.getresponse().status


OWN, LISTED, FOREIGN = "http://127.0.0.1:8000", "https://www.example.com", "https://evil.example"


@pytest.mark.parametrize(
    ("name", "own", "listed", "foreign"),
    [
        ("socketio-origins-app", (200, 101), (200, 101), (400, 403)),
        ("socketio-app", (200, 101), (400, 403), (400, 403)),
        ("socketio-around-app", (200, 101), (400, 403), (400, 403)),
    ],
)
def test_whose_pages_may_connect(
    name: str, own: tuple[int, int], listed: tuple[int, int], foreign: tuple[int, int], tmp_path: Path
) -> None:
    with run_block(name, tmp_path) as server:
        seen = [statuses(server, origin) for origin in (OWN, LISTED, FOREIGN)]
    assert seen == [own, listed, foreign]


@pytest.mark.parametrize(
    ("setting", "own", "foreign"), [("[]", (200, 101), (200, 403)), ("[LISTED]", (400, 403), (400, 403))]
)
def test_a_list_of_socketio_replaces_its_own_pages(
    setting: str, own: tuple[int, int], foreign: tuple[int, int], tmp_path: Path
) -> None:
    """And an empty one is no check; MicroPie's is still there."""
    run = find_run(PAGE, "socketio-origins-app")
    source = run.files["app.py"].replace("cors_allowed_origins=SITES", f"cors_allowed_origins={setting}")
    source = source.replace("allowed_origins=SITES)\napp.mount", "allowed_origins=[])\napp.mount")
    (tmp_path / "app.py").write_text(source.replace("LISTED", f"{LISTED!r}"), encoding="utf-8")
    with serve(tmp_path, run.command) as server:
        assert [statuses(server, origin) for origin in (OWN, FOREIGN)] == [own, foreign]


def test_through_a_proxy_it_compares_the_address_that_the_browser_has(tmp_path: Path) -> None:
    forwarded = {
        "Host": "127.0.0.1:8000",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example.com",
    }
    with run_block("socketio-app", tmp_path) as server:
        for origin, status in {
            "https://shop.example.com": 200,
            "http://shop.example.com": 400,
            "https://evil.example": 400,
        }.items():
            answer = get(server.url + POLLING, headers=forwarded | {"Origin": origin})
            assert answer.status_code == status, origin


def test_wrapped_with_its_own_startup_it_keeps_the_lifespan(tmp_path: Path) -> None:
    source = """
import socketio
from micropie import App

class Shop(App):
    async def index(self): return str(self.open)

async def nothing(): pass

pages = Shop()
pages.open = False
pages.startup_handlers.append(lambda: setattr(pages, "open", True))
sio = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(sio, pages)
other = socketio.ASGIApp(sio, pages, on_startup=nothing)
"""
    (tmp_path / "app.py").write_text(source, encoding="utf-8")
    for target, is_open in {"app:app": "True", "app:other": "False"}.items():
        with serve(tmp_path, f"uvicorn {target}") as server:
            assert get(server.url).text == is_open


# Several processes


@pytest.fixture
def redis_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Redis, which the page's apps find as their reader would tell them."""
    with redis_server(tmp_path) as url:
        monkeypatch.setenv("REDIS_URL", url)
        yield url


def test_events_and_sessions_reach_every_process(redis_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    announce = next(block for block in blocks(PAGE) if block.name == "socketio-announce")
    [command] = [command for block in blocks(PAGE) for _, command in block.commands if "announce" in command]
    with run_block("socketio-workers-app", folder) as one, serve(folder, "uvicorn app:app") as other:
        (folder / "announce.py").write_text(announce.source, encoding="utf-8")

        async def talk() -> None:
            alice, bob = log_in(one, "alice"), log_in(other, "bob")
            options = {"transports": ["websocket"]}
            async with talker(other, alice, **options) as here, talker(one, bob, **options) as there:
                # Alice has logged in at the first process and connects to the second, Bob the other way.
                assert await here.hear() == ("said", {"user": "alice", "text": "Good morning!"})
                for client in (here, there):
                    assert await client.hear() == ("said", {"user": "bob", "text": "Good morning!"})
                await here.client.emit("say", "hi")
                for client in (here, there):
                    assert await client.hear() == ("said", {"user": "alice", "text": "hi"})
                done = await asyncio.to_thread(
                    subprocess.run,
                    [sys.executable, "-W", "error", *shlex.split(command)[1:]],
                    cwd=folder,
                    check=False,
                    capture_output=True,
                )
                assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
                for client in (here, there):
                    assert await client.hear() == ("said", {"user": "the house", "text": "We close at ten."})

        run(talk)


def test_by_http_a_connection_is_known_to_one_process_only(tmp_path: Path) -> None:
    """Why the page wants WebSockets from the start."""
    with run_block("socketio-app", tmp_path) as one, serve(tmp_path, "uvicorn app:app") as other:
        [sid] = re.findall('"sid":"(.+?)"', get(one.url + POLLING).text)
        refused = get(f"{other.url}{POLLING}&sid={sid}")
        assert (refused.status_code, refused.json()) == (400, f"Invalid session {sid}")


def test_the_workers_app_takes_websockets_only(tmp_path: Path) -> None:
    with run_block("socketio-workers-app", tmp_path) as server:
        refused = get(server.url + POLLING)
        assert (refused.status_code, refused.json()) == (400, "Invalid transport")


# The store in Redis


def test_a_session_in_redis_survives_a_restart(redis_url: str, tmp_path: Path) -> None:
    with (
        run_block("sessions-redis", tmp_path / "app", STORES) as server,
        httpx.Client(timeout=PATIENCE) as client,
    ):
        assert [client.get(f"{server.url}count").text for _ in range(2)] == ["Visits: 1", "Visits: 2"]
        server.restart()
        assert client.get(f"{server.url}count").text == "Visits: 3"


def test_the_pages_tests_hold_for_redis(redis_url: str, tmp_path: Path) -> None:
    """The page's test file, with the fixture that the page shows for Redis in the place of its own."""
    sources = {block.name: block.source for block in blocks(STORES)}
    folder = tmp_path / "store"
    folder.mkdir()
    imports, fixture = sources["sessions-redis-fixture"].split("@pytest_asyncio.fixture")
    tests = re.sub(
        r"@pytest\.fixture\n.+?\n\n\n",
        f"@pytest_asyncio.fixture{fixture.rstrip()}\n\n\n",
        sources["sessions-store-test"].replace("from shared import SharedSessions\n", ""),
        flags=re.DOTALL,
    )
    (folder / "redis_sessions.py").write_text(sources["sessions-redis-store"], encoding="utf-8")
    (folder / "test_store.py").write_text(imports + tests, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:playwright"],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"} | own_temporary_files(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert re.search(r"^=+ 4 passed in ", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_without_redis_what_needs_a_session_is_a_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nothing.sock"
    monkeypatch.setenv("REDIS_URL", f"unix://{path}")
    errors = [
        "FileNotFoundError: [Errno 2] No such file or directory",
        f"redis.exceptions.ConnectionError: Error 2 connecting to {path}. No such file or directory.",
    ]
    with run_block("sessions-redis", tmp_path, STORES, errors) as server:
        assert get(server.url).status_code == 200
        assert get(f"{server.url}count").status_code == 500
