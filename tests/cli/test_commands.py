"""The command line: what it prints, what it refuses, and a server that it starts."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from micropie.cli import commands
from micropie.cli.commands import main
from tests.running import Running, running
from tests.serving import PATIENCE

SITE = """
from micropie import App

class Site(App):
    async def index(self):
        return "{}"

    async def ws_echo(self, ws):
        await ws.accept()
        async for message in ws:
            await ws.send(message)

app = Site()
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the test work in a folder of its own, and forget what it imported and what it told uvicorn's log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    logging.getLogger("uvicorn.error").filters.clear()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (file or "").startswith(str(tmp_path)) or (file is None and name not in before):
            del sys.modules[name]


def save(source: str, name: str = "site_of_mine.py") -> None:
    Path(name).write_text(source, encoding="utf-8")


def status_of(command: str) -> Any:
    try:
        return main(command.split())
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ["examples copy chat", "run app.py", "routes app.py", "--version"]),
        ("--help", ["examples copy chat", "run app.py", "routes app.py", "--version"]),
        ("examples --help", ["copy chat our-chat"]),
        ("examples copy --help", ["NAME", "FOLDER"]),
        ("run --help", ["run app.py:shop", "run bakery.web", "--port 0", "--no-reload", "default: 8000"]),
        ("routes --help", ["routes app.py:shop", 'Arguments before a "*" may come from the path']),
    ],
)
def test_the_help_teaches_by_examples(
    command: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(command) == 0
    shown = capsys.readouterr().out
    assert [word for word in words if word not in shown] == []
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bake", "invalid choice: 'bake'"),
        ("run", "the following arguments are required: APP"),
        ("run site_of_mine.py --port x", "a port is a number up to 65535, not 'x'"),
        ("run site_of_mine.py --port 65536", "a port is a number up to 65535, not '65536'"),
        ("examples copy", "the following arguments are required: NAME"),
        ("examples copy ecco", "error: there is no example 'ecco'; did you mean echo?"),
        ("examples copy echo .", "error: . is there already: name a folder that is new or empty"),
        ("examples copy echo empty.py/mine", "error: empty.py/mine cannot be written: Not a directory"),
        ("run nothing.py", "error: there is no file nothing.py in "),
        ("routes nothing", "error: there is no module 'nothing' here"),
        ("run site_of_mine.py", "error: site_of_mine.py has several apps, one, two: name one"),
        ("routes site_of_mine.py:three", "error: site_of_mine.py has no three; apps in it: one, two"),
        ("run empty.py", "error: empty.py has no app: it needs a line such as"),
        ("run wrong.py", "SyntaxError: invalid syntax\nerror: wrong.py cannot be loaded, see above"),
        (
            "run lacking.py",
            'error: lacking.py cannot be loaded, see above; "micropie[socketio]" brings what it lacks',
        ),
        ("routes other.py", "error: other.py has no MicroPie app: it is of the module builtins"),
        ("run other.py --host 203.0.113.1 --port 0", "error: cannot listen on 203.0.113.1, port 0: "),
    ],
)
def test_what_its_user_has_to_mend(
    command: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "socketio", None)
    save("import socketio", "lacking.py")
    save("from micropie import App\none, two = App(), App()")
    save("", "empty.py")
    save("class", "wrong.py")
    save("async def app(scope, receive, send): ...", "other.py")
    assert status_of(command) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("command", ["run", "run --no-reload"])
def test_a_port_that_is_taken(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    save(SITE.format("hi"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert status_of(f"{command} site_of_mine.py --port {port}") == 2
    words = (
        f"error: cannot listen on 127.0.0.1, port {port}: Address already in use; name another, or --port 0 "
    )
    assert capsys.readouterr().err.startswith(words)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["", "run --help", "examples", "routes site_of_mine.py"])
def test_nobody_reads_the_output(command: str, unbuffered: str) -> None:
    save(SITE.format("hi"))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "micropie", *command.split()],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        check=False,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert done.stderr == ""


def test_a_traceback_begins_in_the_file_itself(capsys: pytest.CaptureFixture[str]) -> None:
    save("def bake():\n    1 / 0\nbake()")
    assert main(["routes", "site_of_mine.py"]) == 2
    shown = capsys.readouterr().err
    assert re.match(
        r'Traceback \(most recent call last\):\n  File ".*site_of_mine\.py", line 3, in <module>\n', shown
    )
    assert "ZeroDivisionError" in shown


def test_without_uvicorn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["run", "site_of_mine.py"]) == 2
    assert capsys.readouterr().err == "error: run needs uvicorn: install micropie with the extra 'server'\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--version") == 0
    assert capsys.readouterr().out == f"micropie {version('micropie')}\n"


def test_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["examples"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^echo +Every message comes back to the one who sent it\.$", shown, re.MULTILINE)
    assert main(["examples", "copy", "echo", "mine"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mine has app.py, index.html, ")
    assert shown.endswith("\n\n  cd mine\n  python -m micropie run app.py\n  python -m pytest\n")
    assert main(["examples", "copy", "echo"]) == 0
    assert Path("echo/app.py").is_file()


def test_a_copy_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "missing", lambda _folder: ["micropie[socketio]", "argon2"])
    assert main(["examples", "copy", "echo"]) == 0
    assert (
        "This Python still needs, for it and its tests: micropie[socketio], argon2.\n"
        in capsys.readouterr().out
    )


def test_routes(capsys: pytest.CaptureFixture[str]) -> None:
    save(SITE.format("hi"))
    assert main(["routes", "site_of_mine.py"]) == 0
    assert capsys.readouterr().out == "METHOD     PATH   ARGUMENTS\nany        /\nWebSocket  /echo\n"


# --- run ------------------------------------------------------------------------------------------------


def test_run_serves_and_starts_again_after_each_change() -> None:
    save(SITE.format("one"))
    with running("site_of_mine.py", "--port", "0") as process:
        url = process.serving()
        assert httpx.get(url).text == "one"
        with connect(f"{url.replace('http', 'ws')}/echo") as ws:
            save(SITE.format("and"))
            with pytest.raises(ConnectionClosed):
                ws.recv()
            assert ws.close_code == 1012
        process.expect("startup complete")
        for source, sign in [
            (SITE.format("two"), "startup complete"),
            ("class", "SyntaxError: invalid syntax"),
            ("app = None", r"^error: site_of_mine\.py has no app: it needs a line such as"),
            (SITE.format("three"), "startup complete"),
        ]:
            save(source)
            process.expect(r"detected changes in '\S*site_of_mine\.py'")
            process.expect(sign)
        assert httpx.get(url).text == "three"
        assert process.stop() == 0


BUSY = """
import asyncio
import queue

from micropie import App

class Site(App):
    async def stream(self):
        yield "begun"
        await asyncio.Queue().get()

    async def silent(self):
        print("begun")
        await asyncio.Queue().get()
        yield "news"

    async def waits(self):
        print("begun")
        await asyncio.Queue().get()

    def blocks(self):
        print("begun")
        queue.Queue().get()

    def blocking_stream(self):
        yield "begun"
        queue.Queue().get()

    async def ws_waits(self, ws):
        await ws.accept()
        print("begun")
        await asyncio.Queue().get()

app = Site()
"""


@contextmanager
def open_request(url: str, path: str, process: Running) -> Iterator[None]:
    """A request that its handler never ends, once that is at it."""
    if path == "ws_waits":
        with connect(f"{url.replace('http', 'ws')}/waits"):
            process.expect("begun")
            yield
    else:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), PATIENCE) as client:
            client.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if "stream" in path:
                read = b""
                while b"begun" not in read:
                    read += client.recv(4096)
            else:
                process.expect("begun")
            yield


@pytest.mark.parametrize("path", ["stream", "silent", "waits", "blocks", "blocking_stream", "ws_waits"])
@pytest.mark.parametrize("options", [(), ("--no-reload",)], ids=["reload", "no-reload"])
def test_run_waits_for_no_open_request(path: str, options: tuple[str, ...]) -> None:
    """A stream or a handler that waits for ever keeps the server neither from starting again nor from stopping."""
    save(BUSY)
    with running("site_of_mine.py", "--port", "0", *options) as process:
        url = process.serving()
        with open_request(url, path, process):
            if not options:
                save(BUSY.replace('"news"', '"other news"'))
                process.expect("startup complete")
        with open_request(url, path, process):
            assert process.stop() == 0
        assert "Traceback" not in process.rest()


def test_run_without_reload() -> None:
    Path("shop").mkdir()
    save(SITE.format("one"), "shop/web.py")
    with running("shop.web", "--no-reload", "--port", "0") as process:
        url = process.serving()
        assert httpx.get(url).text == "one"
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("command", "watched"),
    [
        ("shop/web.py", "shop"),
        ("shop.web:app", "."),
        ("shop/web.py --no-reload", None),
        ("shop/pages/site.py", "shop/pages"),
        ("bakery/pages/site.py:make", "bakery"),
        ("bakery", "."),
        ("bakery/", "bakery"),
    ],
)
def test_run_hands_over_to_uvicorn(
    command: str, watched: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, app in (("shop", "shop/web.py"), ("bakery", "bakery/__init__.py")):
        Path(folder, "pages").mkdir(parents=True)
        save(SITE.format("one"), app)
        save(SITE.format("one") + "def make():\n    return app\n", f"{folder}/pages/site.py")
    save("", "bakery/pages/__init__.py")
    path = [*sys.path]
    started: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: started.append((app, options)))
    monkeypatch.setenv("MICROPIE_RUN", "")
    assert main(["run", *command.split(), "--port", "0", "--host", "0.0.0.0"]) == 0
    [(app, options)] = started
    assert not watched or sys.path == path  # the process that reloads would look there first
    assert (options["host"], options["port"]) == ("0.0.0.0", 0)
    assert options.get("reload_dirs") == (None if watched is None else [str(Path(watched).resolve())])
    assert options.get("reload_delay") == (None if watched is None else 0.0)  # a change at once is seen
    assert type(commands.served() if watched else app).__name__ == "Site"


FACTORY = (
    f"from .words import WORD\n{SITE.format('hi')}\ndef create_app():\n    app.word = WORD\n    return app\n"
)


@pytest.mark.parametrize("reload", [(), ("--no-reload",)])
def test_run_from_elsewhere_makes_an_app_of_a_package(
    reload: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("shop", "elsewhere"):
        Path(folder).mkdir()
    save(FACTORY, "shop/typing.py")
    save("WORD = 1", "shop/words.py")
    monkeypatch.chdir("elsewhere")
    with running("../shop/typing.py:create_app", *reload, "--port", "0") as process:
        url = process.serving()
        assert httpx.get(url).text == "hi"
        if not reload:
            save("WORD = 2", "../shop/words.py")
            process.expect("startup complete")
            assert httpx.get(url).text == "hi"
        assert process.stop() == 0


@pytest.mark.parametrize("command", [["-m", "micropie"], ["-P", "-m", "micropie"]])
def test_a_file_that_is_called_as_a_module_of_pythons_own(command: list[str]) -> None:
    """Python itself takes it for its own, unless it is told not to look here; then the error names the cure."""
    save(SITE.format("hi"), "typing.py")
    # tox sets what the option -P says, and coverage imports that module first.
    ours = re.compile("PYTHONSAFEPATH|COVERAGE_").match
    environment = {name: value for name, value in os.environ.items() if not ours(name)}
    done = subprocess.run(
        [sys.executable, *command, "routes", "typing.py"],
        env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
        capture_output=True,
        text=True,
    )
    if "-P" in command:
        assert done.stdout.startswith("METHOD")
    else:
        words = (
            f"{Path.cwd() / 'typing.py'} takes the place of Python's own module typing: give it another name"
        )
        assert words in done.stderr


def test_a_neighbour_that_is_called_as_a_module_of_pythons_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save("import calendar\ncalendar.Calendar")
    save("", "calendar.py")
    monkeypatch.delitem(sys.modules, "calendar", raising=False)
    assert main(["routes", "site_of_mine.py"]) == 2
    words = (
        f"{Path.cwd() / 'calendar.py'} takes the place of Python's own module calendar: give it another name"
    )
    assert words in capsys.readouterr().err


def test_a_traceback_of_a_package_begins_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("shop").mkdir()
    save("from .words import x", "shop/web.py")
    save("1 / 0", "shop/words.py")
    for name in ("shop/web.py", "shop.web"):
        assert main(["routes", name]) == 2
        shown = capsys.readouterr().err
        assert re.match(
            r'Traceback \(most recent call last\):\n  File ".*web\.py", line 1, in <module>\n', shown
        )


@pytest.mark.parametrize(
    ("source", "error", "traceback"),
    [
        ("", "has no app", ""),
        ("1 / 0", "cannot be loaded, see above", "ZeroDivisionError: division by zero\n"),
    ],
)
def test_what_the_reloading_process_says(
    source: str,
    error: str,
    traceback: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(source)
    monkeypatch.setenv("MICROPIE_RUN", "site_of_mine.py")
    with pytest.raises(SystemExit, match=rf"error: site_of_mine\.py {error}"):
        commands.served()
    shown = capsys.readouterr().err
    assert shown.endswith(traceback)
    assert shown.count("  File ") == bool(traceback)


def test_the_console_script() -> None:
    script = Path(sys.executable).with_name("micropie.exe" if os.name == "nt" else "micropie")
    done = subprocess.run([script, "examples"], capture_output=True, text=True, check=True)
    assert "echo" in done.stdout
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"micropie {version('micropie')}\n"
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: micropie [-h] [--version] COMMAND")
