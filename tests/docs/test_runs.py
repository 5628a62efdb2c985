"""Every server command of the docs, run in a fresh folder with the files that the page shows."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import pytest
import socketio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import micropie
from tests.running import own_temporary_files
from tests.serving import Server, serve
from tools.blocks import DOCS, Run, find_run, pages, pytest_runs, runs

QUICKSTART = DOCS / "tutorial" / "quickstart.rst"
ARGUMENTS = DOCS / "tutorial" / "arguments.rst"
ANSWERS = DOCS / "tutorial" / "answers.rst"
WEBSOCKETS = DOCS / "tutorial" / "websockets.rst"
HOWTO = DOCS / "howto"
README = DOCS.parent / "README.md"


def titled(found: list[Run]) -> dict[str, Run]:
    return {f"{run.page.relative_to(DOCS).with_suffix('')}:{run.line}": run for run in found}


RUNS = titled([run for page in pages() for run in runs(page)])
# What needs a browser is run in one: the tutorial in test_reader.py, a how-to page in test_howto.py of tests/e2e.
PYTEST_RUNS = titled(
    [
        run
        for page in pages()
        for run in pytest_runs(page)
        if page.parent.name != "tutorial" and "playwright" not in run.files.get("test_app.py", "")
    ]
)


def ask(url: str, method: str = "GET") -> tuple[int, str]:
    """Return status and text of a page."""
    try:
        with urlopen(Request(url, method=method)) as answer:
            return int(answer.status), answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def run_block(page: Path, name: str, folder: Path, command: str | None = None) -> Iterator[Server]:
    """Serve a named block of a page, by its own command unless there is another."""
    run = find_run(page, name)
    run.write(folder)
    with serve(folder, command or run.command) as server:
        yield server


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_it_serves(run: Run, tmp_path: Path) -> None:
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        status, text = ask(server.url)
        assert status == 200, text  # The address that the server prints has an answer.


@pytest.mark.parametrize("run", PYTEST_RUNS.values(), ids=PYTEST_RUNS.keys())
def test_its_tests_pass(run: Run, tmp_path: Path) -> None:
    """A test file of a page, run as its reader runs it: every test passes, and none is skipped."""
    run.write(tmp_path)
    words = run.command.removeprefix("python -m ").split()
    done = subprocess.run(
        [sys.executable, "-m", *words, "-p", "no:cacheprovider", "-p", "no:playwright"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"} | own_temporary_files(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(
        len(re.findall(r"^(?:async )?def test_", source, re.MULTILINE)) for source in run.files.values()
    )
    passed = re.search(r"^=+ (\d+) passed in [\d.]+s =+$", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= tests, done.stdout  # Parameters make several tests of one function.


def test_the_readme(tmp_path: Path) -> None:
    [source] = re.findall(r"```python\n(.+?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "app.py").write_text(source, encoding="utf-8")
    with serve(tmp_path) as server:
        assert ask(server.url)[0] == 200
        for path in ("greet/Alice", "greet?name=Alice"):
            assert ask(server.url + path) == (200, '{"hello":"Alice"}')
        with urlopen(f"{server.url}greet/%3Cscript%3E") as answer:
            assert answer.headers["Content-Type"] == "application/json"
        with connect(f"{server.ws_url}echo") as ws:
            ws.send("hi")
            assert ws.recv() == "hi"


# The first pages of the tutorial


def test_arguments(tmp_path: Path) -> None:
    with run_block(QUICKSTART, "quickstart-arguments", tmp_path) as server:
        assert ask(f"{server.url}greet/%3Cb%3E") == (200, "Hello &lt;b&gt;!")
        assert ask(f"{server.url}add?a=2&b=3") == (200, "2 + 3 = 5")
        assert ask(f"{server.url}add?a=2&b=x")[0] == 400
        assert ask(f"{server.url}add/2/x")[0] == 404


def test_answers(tmp_path: Path) -> None:
    with run_block(QUICKSTART, "quickstart-json", tmp_path) as server:
        assert ask(f"{server.url}pies") == (200, '["apple","cherry"]')
        assert ask(f"{server.url}pie/2") == (200, '{"number":2,"name":"cherry"}')
        assert ask(f"{server.url}pie/3") == (404, '{"error":"There is no pie 3."}')


def test_every_answer_of_the_table(tmp_path: Path) -> None:
    app = """
from micropie import App, HTTPError

class Answers(App):
    async def text(self): return "text"
    async def raw(self): return b"raw"
    async def mapping(self): return {"a": 1}
    async def sequence(self): return [1, 2]
    async def number(self): return 4.5
    async def pair(self): return 201, "made"
    async def triple(self): return 202, {"a": 1}, [("X-Kind", "triple")]
    async def named(self): return 202, "text", {"X-Kind": "named"}
    async def stream(self):
        yield "a"
        yield b"b"
    def sync_stream(self):
        yield "c"
    def plain(self): return "plain"
    async def nothing(self) -> None: ...
    async def error(self): raise HTTPError(418, "no coffee")

app = Answers()
"""
    html, data, text = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    with serve(tmp_path) as server:
        for path, status, kind, body in [
            ("text", 200, html, "text"),
            ("raw", 200, html, "raw"),
            ("mapping", 200, data, '{"a":1}'),
            ("sequence", 200, data, "[1,2]"),
            ("number", 200, html, "4.5"),
            ("pair", 201, html, "made"),
            ("triple", 202, data, '{"a":1}'),
            ("named", 202, html, "text"),
            ("stream", 200, html, "ab"),
            ("sync_stream", 200, html, "c"),
            ("plain", 200, html, "plain"),
            ("nothing", 204, None, ""),
            ("error", 418, text, "418 I'm a Teapot: no coffee"),
        ]:
            try:
                answer = urlopen(server.url + path)
            except HTTPError as error:
                answer = error
            with answer:
                shown = (answer.status, answer.headers["Content-Type"], answer.read().decode())
                assert shown == (status, kind, body), path
                assert answer.headers["X-Kind"] == (path if path in ("triple", "named") else None)


def test_stream(tmp_path: Path) -> None:
    with run_block(ANSWERS, "answers-stream", tmp_path) as server:
        assert ask(f"{server.url}countdown/1") == (200, "1 Done!")
        assert ask(f"{server.url}countdown/99") == (400, "400 Bad Request: A minute at most.")
        assert ask(f"{server.url}bake") == (200, "A pie that took two seconds.")


def test_methods(tmp_path: Path) -> None:
    with run_block(ARGUMENTS, "arguments-methods", tmp_path) as server:
        assert "0 people" in ask(server.url)[1]
        assert ask(f"{server.url}like")[0] == 405
        status, text = ask(f"{server.url}like", "POST")  # The redirect is followed.
        assert (status, "1 people" in text) == (200, True)
        assert ask(server.url, "DELETE")[0] == 200  # Any method, as the page says.


def test_forms_and_json(tmp_path: Path) -> None:
    with (
        run_block(ARGUMENTS, "arguments-body-app", tmp_path) as server,
        httpx.Client(base_url=server.url, follow_redirects=True) as client,
    ):
        assert "<li>&lt;b&gt;: 5</ul>" in client.post("sign", data={"name": "<b>", "stars": "5"}).text
        assert client.post("sign", json={"name": "Bob", "stars": 4}).status_code == 200
        assert client.get("entries").text == '[{"name":"<b>","stars":5},{"name":"Bob","stars":4}]'
        assert client.post("sign").text == "400 Bad Request: the parameter 'name' is missing"


def test_settings(tmp_path: Path) -> None:
    with run_block(ANSWERS, "answers-settings", tmp_path) as server:
        assert 0 <= json.loads(ask(server.url)[1])["seconds"] < 600
        server.stop()
        assert "Goodbye!" in server.log()


def test_logging(tmp_path: Path) -> None:
    run = find_run(ANSWERS, "answers-logging")
    run.write(tmp_path)
    with closing(Server(tmp_path, run.command)) as server:  # Here a traceback is no failure.
        server.start()
        ask(server.url)
        assert ask(f"{server.url}order") == (500, "500 Internal Server Error")
    assert re.search(
        r"^\d{4}-\d\d-\d\d [\d:,]+ INFO bakery: somebody looks at the pies$", server.log(), re.MULTILINE
    )
    assert re.search(
        r"^\d{4}-\d\d-\d\d [\d:,]+ ERROR micropie: error while answering /order$", server.log(), re.MULTILINE
    )
    assert "RuntimeError: out of pies" in server.log()


@pytest.mark.parametrize("name", ["request", "mount", "env", "websockets"])
def test_a_name_that_cannot_be_a_route(name: str) -> None:
    app = type("Shop", (micropie.App,), {name: lambda _: "here"})
    with pytest.raises(TypeError, match=f"Shop.{name}: App uses this name itself"):
        app()


# WebSockets


EVERY_SERVER = [
    "uvicorn app:app",
    "hypercorn app:app",
    "granian --interface asgi app:app",
    "daphne app:app",
]


@pytest.mark.parametrize("command", EVERY_SERVER)
def test_echo(command: str, tmp_path: Path) -> None:
    """The block alone, pasted into ``app.py``, on each server."""
    (tmp_path / "app.py").write_text(find_run(WEBSOCKETS, "websocket-echo").files["app.py"], encoding="utf-8")
    with serve(tmp_path, command) as server:
        with connect(f"{server.ws_url}echo") as ws:
            ws.send("hi")
            assert ws.recv() == "Echo: hi"
        assert ws.close_code == 1000
        server.wait_for_log("The client left with code")


def test_greet(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        find_run(WEBSOCKETS, "websocket-greet").files["app.py"], encoding="utf-8"
    )
    with serve(tmp_path) as server:
        for path, greeting in {
            "greet/Alice": "Hello Alice!",
            "greet?name=Bob": "Hello Bob!",
            "greet": "Hello Guest!",
        }.items():
            with connect(server.ws_url + path) as ws:
                assert list(ws) == [greeting]
            assert ws.close_code == 1000


def test_a_refusal_in_the_log(tmp_path: Path) -> None:
    """The lines that the page shows for a mistyped path."""
    with run_block(WEBSOCKETS, "websocket-echo", tmp_path) as server:
        with pytest.raises(InvalidStatus, match="404"), connect(f"{server.ws_url}ecco"):
            pass
        server.wait_for_log('"WebSocket /ecco" 404')
        server.stop()
        assert "ERROR" not in server.log()


def test_json(tmp_path: Path) -> None:
    with (
        run_block(WEBSOCKETS, "websocket-json", tmp_path) as server,
        connect(f"{server.ws_url}sum") as ws,
    ):
        for message, answer in [("[1, 2, 3.5]", {"sum": 6.5}), ("{", {"error": "Send a list of numbers."})]:
            ws.send(message)
            assert json.loads(ws.recv()) == answer


@pytest.mark.parametrize("command", EVERY_SERVER)
def test_live(command: str, tmp_path: Path) -> None:
    """A handler that only sends notices at once that its client left: it would sleep for a minute."""
    with run_block(WEBSOCKETS, "websocket-live", tmp_path, command) as server:
        with connect(f"{server.ws_url}news") as ws:
            assert json.loads(ws.recv())["readers"] == 1
        server.wait_for_log("A reader left with code")


def test_live_when_the_server_stops(tmp_path: Path) -> None:
    with (
        run_block(WEBSOCKETS, "websocket-live", tmp_path) as server,
        connect(f"{server.ws_url}news") as ws,
    ):
        ws.recv()
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert "A reader left with code 1012." in server.log()


def test_both(tmp_path: Path) -> None:
    with (
        run_block(WEBSOCKETS, "websocket-both", tmp_path) as server,
        connect(f"{server.ws_url}counter") as ws,
    ):
        assert [ws.recv(), ws.recv()] == ["1", "2"]
        ws.send("reset")
        assert "1" in (ws.recv(), ws.recv())


def test_broadcast(tmp_path: Path) -> None:
    with (
        run_block(WEBSOCKETS, "websocket-broadcast", tmp_path) as server,
        connect(f"{server.ws_url}chat/Alice") as alice,
    ):
        assert alice.recv() == "Alice is here."
        with connect(f"{server.ws_url}chat?name=Bob") as bob:
            bob.send("Hello")
            assert [bob.recv(), bob.recv()] == ["Bob is here.", "Bob: Hello"]
        assert [alice.recv() for _ in range(3)] == ["Bob is here.", "Bob: Hello", "Bob has left."]


def test_a_handler_that_never_accepts_is_refused(tmp_path: Path) -> None:
    app = """
from micropie import App

class Silent(App):
    async def ws_index(self, ws):
        pass

app = Silent()
"""
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    with serve(tmp_path) as server:
        with pytest.raises(InvalidStatus) as refused, connect(server.ws_url):
            pass
        assert refused.value.response.status_code == 403
        server.wait_for_log("accept")


def test_socketio(tmp_path: Path) -> None:
    """What one client says goes to every client."""

    async def talk(url: str) -> list[object]:
        async with socketio.AsyncSimpleClient() as alice, socketio.AsyncSimpleClient() as bob:
            await alice.connect(url)
            await bob.connect(url, transports=["websocket"])
            await alice.emit("say", "hi")
            assert bob.transport == "websocket"
            return [await client.receive(timeout=15) for client in (alice, bob)]

    run = find_run(WEBSOCKETS, "socketio-mounted")
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        assert asyncio.run(talk(server.url)) == [["said", "hi"]] * 2


# How-to guides


@contextmanager
def visit(page: str, name: str, folder: Path) -> Iterator[httpx.Client]:
    """Serve a named block of a how-to page, and be one visitor with cookies."""
    with (
        run_block(HOWTO / f"{page}.rst", name, folder) as server,
        httpx.Client(base_url=server.url, follow_redirects=True) as client,
    ):
        yield client


def test_a_form(tmp_path: Path) -> None:
    with visit("forms-and-uploads", "forms-form", tmp_path) as client:
        form = {"pie": "<i>", "count": "3", "extra": ["cream", "sugar"]}
        assert client.post("order", data=form).text == "3 times &lt;i&gt;, extras: cream, sugar"
        assert client.post("order", data={"pie": "apple"}).text == "1 times apple, extras: none"
        refused = client.post("order", data={"pie": "apple", "count": "many"})
        assert refused.text == "400 Bad Request: the parameter 'count' must be an integer"


def test_json_bodies(tmp_path: Path) -> None:
    with visit("forms-and-uploads", "forms-json", tmp_path) as client:
        pie = client.post("bake", json={"pie": "apple", "notes": {"sugar": False}})
        assert pie.text == '{"pie":"apple","minutes":40,"notes":{"sugar":false}}'
        assert client.put("menu", json=["apple", "cherry"]).text == '{"pies":2}'
        assert client.put("menu", json={}).status_code == 400
        refused = client.post("bake", content=b"{", headers={"Content-Type": "application/json"})
        assert refused.status_code == 400


def test_an_upload(tmp_path: Path) -> None:
    with visit("forms-and-uploads", "forms-upload", tmp_path) as client:
        large = b"0123456789abcdef" * 1_100_000  # more than the default limit, less than the album's
        upload = client.post("upload", data={"title": "<b>"}, files={"photo": ("p<.jpg", large)})
        assert re.fullmatch(rf"&lt;b&gt;: p&lt;.jpg, {len(large)} bytes, SHA-256 [0-9a-f]{{8}}", upload.text)


def test_cookies(tmp_path: Path) -> None:
    with visit("forms-and-uploads", "forms-cookies", tmp_path) as client:
        assert client.get("call_me/Zoë").text == "Hello Zoë!"
        assert client.get("").text == "Hello Zoë!"
        assert client.get("forget").text == "Hello Guest!"


def test_a_login(tmp_path: Path) -> None:
    with visit("sessions", "sessions-login", tmp_path) as client:
        assert client.get("me?user=bob").status_code == 401
        assert client.post("login", data={"user": "alice", "password": "cherry"}).status_code == 403
        assert "You are alice." in client.post("login", data={"user": "alice", "password": "apple"}).text
        before = client.cookies["session_id"]
        assert "You are alice." in client.get("me?user=bob").text
        client.post("login", data={"user": "bob", "password": "cherry"})
        assert client.cookies["session_id"] != before
        assert client.post("logout").status_code == 200
        assert "session_id" not in client.cookies
        assert client.get("me").status_code == 401


def test_a_session_of_a_websocket(tmp_path: Path) -> None:
    with (
        run_block(HOWTO / "sessions.rst", "sessions-websocket", tmp_path) as server,
        connect(f"{server.ws_url}play") as ws,
    ):
        assert ws.response is not None
        cookie = ws.response.headers["Set-Cookie"].partition(";")[0]
        for points in (1, 2):
            ws.send("point")
            assert ws.recv() == str(points)
            answer = httpx.get(f"{server.url}score", headers={"Cookie": cookie})
            assert answer.text == f"Points: {points}"


@pytest.mark.parametrize("name", ["sessions-backend", "sessions-shared-backend"])
def test_a_store_survives_a_restart(name: str, tmp_path: Path) -> None:
    with run_block(HOWTO / "session-stores.rst", name, tmp_path) as server, httpx.Client() as client:
        assert [client.get(server.url).text for _ in range(2)] == ["Visits: 1", "Visits: 2"]
        server.restart()
        assert client.get(server.url).text == "Visits: 3"


def test_hooks_around_a_request(tmp_path: Path) -> None:
    with visit("middleware", "middleware-http", tmp_path) as client:
        assert client.get("api").status_code == 401
        answer = client.get("api", headers={"X-Key": "pie"})
        assert answer.json() == ["apple", "cherry"]
        assert re.fullmatch(r"app;dur=\d+\.\d", answer.headers["Server-Timing"])


def test_a_hook_chooses_the_handler(tmp_path: Path) -> None:
    with visit("middleware", "middleware-routing", tmp_path) as client:
        assert client.get("users/7/orders").json() == {"user": 7, "orders": []}
        assert client.get("users/x/orders").status_code == 404
        assert "Disallow" in client.get("robots.txt").text


def test_a_hook_refuses_a_websocket(tmp_path: Path) -> None:
    with run_block(HOWTO / "middleware.rst", "middleware-websocket", tmp_path) as server:
        url = f"{server.ws_url}echo"
        with connect(url), connect(url), pytest.raises(InvalidStatus) as refused, connect(url):
            pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.body == b"Every line is busy."
        server.wait_for_log("connection rejected")


def test_templates(tmp_path: Path) -> None:
    with visit("templates", "templates-app", tmp_path) as client:
        assert "<title>Pies</title>" in client.get("").text
        assert client.post("bake", data={"name": "<b>", "cents": "999"}).status_code == 204
        assert "<li>&lt;b&gt;: 9.99 €</li>" in client.get("").text
        assert "No such pie." in client.get("", params={"search": '"><b>'}).text
        template = tmp_path / "templates" / "pie.html"
        template.write_text("<li>{{ name }} is new</li>", encoding="utf-8")
        assert "<li>apple is new</li>" in client.get("").text  # Without a restart, as the page says.


def test_a_streamed_report(tmp_path: Path) -> None:
    with visit("streaming", "streaming-csv", tmp_path) as client:
        answer = client.get("report/3")
        assert answer.text.split() == ["number,square", "0,0", "1,1", "2,4"]
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert client.get("report/1000001").status_code == 400


def test_server_sent_events(tmp_path: Path) -> None:
    with run_block(HOWTO / "server-sent-events.rst", "sse-app", tmp_path) as server:
        with httpx.stream("GET", f"{server.url}events") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            lines = answer.iter_lines()
            assert [next(lines), next(lines)] == ["retry: 2000", ""]
            httpx.post(f"{server.url}tell", data={"line": "hot"})
            assert re.fullmatch("id: [0-9a-f]{16}", next(lines))
            assert next(lines) == 'data: "hot"'
        server.wait_for_log("0 readers left.")
