"""The plugin, in runs of pytest as a user has them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

APP = """
from micropie import App

class Bakery(App):
    async def index(self): return "pies"
    async def burn(self): raise RuntimeError("out of pies")

app = Bakery()
"""

TESTS = """
import httpx, pytest
from app import Bakery

def test_passes(live_server):
    assert httpx.get(live_server(Bakery()).url).text == "pies"

def test_fails_by_itself(live_server):
    assert httpx.get(live_server("app.py").url + "/nowhere").status_code == 200

def test_fails_by_the_error(live_server):
    httpx.get(live_server(Bakery()).url + "/burn")

def test_fails_by_itself_before_the_error(live_server):
    httpx.get(live_server(Bakery()).url + "/burn")
    assert 1 == 2

def test_passes_as_it_allows_errors(live_server):
    httpx.get(live_server(Bakery(), allow_errors=True).url + "/burn")

def test_passes_as_it_expects_the_error(live_server):
    server = live_server(Bakery())
    httpx.get(server.url + "/burn")
    server.expect_error("out of pies")

@pytest.fixture(scope="module")
def server(live_server_factory):
    with live_server_factory("app.py") as server:
        yield server

def test_fails_by_the_error_of_a_longer_lived_server(server):
    httpx.get(server.url + "/burn")

def test_passes_afterwards(server):
    httpx.get(server.url)

@pytest.mark.asyncio
async def test_fails_by_the_error_though_async(live_server):
    async with httpx.AsyncClient() as client:
        await client.get(live_server(Bakery()).url + "/burn")

def test_passes_and_then_has_an_error(live_server):
    app = Bakery()
    app.shutdown_handlers.append(lambda: 1 / 0)
    live_server(app)
"""

IN_PARALLEL = """
import httpx, pytest

@pytest.fixture(scope="session")
def server(live_server_factory):
    return live_server_factory("app.py")

@pytest.mark.parametrize("number", range(6))
def test(number, server, live_server):
    assert httpx.get(server.url).text == httpx.get(live_server("app.py").url).text == "pies"
"""


def run(pytester: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(app=APP, test_app=tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:playwright", "-v", *options)


def test_an_error_in_a_servers_log_is_one_of_the_test(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS)
    assert re.search(
        r"^test_app.py::test_passes_and_then_has_an_error ERROR", str(result.stdout), re.MULTILINE
    )
    outcomes = dict(re.findall(r"^test_app.py::(test_\w+) (PASSED|FAILED)", str(result.stdout), re.MULTILINE))
    assert outcomes == {
        name: name.split("_")[1].upper().replace("FAILS", "FAILED").replace("PASSES", "PASSED")
        for name in re.findall(r"def (test_\w+)", TESTS)
    }
    # Once for each of the four, and nowhere as the cause of itself; in CI pytest repeats each whole at the end.
    told, _, _ = str(result.stdout).partition("short test summary info")
    assert told.count("logged errors; await one with") == 4
    result.stdout.fnmatch_lines(
        [
            "* ERROR at teardown of test_passes_and_then_has_an_error *",
            "the live server at http://127.0.0.1:* logged errors; await one with server.expect_error*",
            "*ZeroDivisionError: division by zero",
            "* test_fails_by_itself *",
            "*Captured log call*",
            '*"GET /nowhere HTTP/1.1" 404',
            "*Captured log teardown*",
            "* test_fails_by_the_error *",
            "the live server at http://127.0.0.1:* logged errors; await one with server.expect_error*",
            "ERROR micropie: error while answering /burn",
            "RuntimeError: out of pies",
            "* test_fails_by_itself_before_the_error *",
            "E       assert 1 == 2",
            "*Captured log call*",
            "RuntimeError: out of pies",
        ]
    )


def test_workers_have_servers_of_their_own(pytester: pytest.Pytester) -> None:
    run(pytester, IN_PARALLEL, "-n", "2").assert_outcomes(passed=6)


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test(live_server): ...", "-p", "no:micropie")
    result.stdout.fnmatch_lines(["*fixture 'live_server' not found"])


def test_loading_it_is_cheap() -> None:
    script = "import json, sys, pytest, micropie.pytest_plugin; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert not {"httpx", "uvicorn", "playwright", "micropie.testing"} & set(json.loads(done.stdout))


# --- tests with a browser ---------------------------------------------------------------------------------

# What pytest-playwright does, without a browser: a loop is running in this thread from the first page on.
PLAYWRIGHT = """
import asyncio, pytest

@pytest.fixture(scope="session")
def playwright():
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    yield
    asyncio._set_running_loop(None)
    loop.close()

@pytest.fixture
def page(playwright):
    return "a page"
"""

MIXED = """
import asyncio, pytest

def test_first(page, {fixture}): pass

@pytest.mark.asyncio
async def test_async(): await asyncio.sleep(0)

class TestMore:
    def test_second(self, page): pass

    def test_runs_a_loop(self): asyncio.run(asyncio.sleep(0))

    @pytest.mark.asyncio
    async def test_async_too(self): await asyncio.sleep(0)
"""


def names(result: pytest.RunResult) -> list[str]:
    return re.findall(r"^\S+::(\w+) (?:PASSED|FAILED|ERROR)", str(result.stdout), re.MULTILINE)


@pytest.mark.parametrize("options", [(), ("-n", "1"), ("-p", "no:randomly", "--maxfail=1")])
def test_async_tests_come_before_those_with_a_page(
    pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """Playwright's sync form keeps a loop running, so that no other one could run after it."""
    pytester.makeconftest(PLAYWRIGHT)
    result = run(pytester, MIXED.format(fixture="live_server"), *options)
    result.assert_outcomes(passed=5)
    if "-n" not in options:
        assert names(result) == [
            *["test_async", "test_runs_a_loop", "test_async_too"],
            *["test_first", "test_second"],
        ]


@pytest.mark.parametrize(
    ("tests", "order"),
    [
        (MIXED.format(fixture="request"), ["test_first", "test_async", "test_second", "test_runs_a_loop"]),
        (
            "def test_first(page, live_server): pass\ndef test_plain(): pass",
            ["test_first", "test_plain"],
        ),
    ],
    ids=["not ours", "nothing async"],
)
def test_no_other_test_is_moved(pytester: pytest.Pytester, tests: str, order: list[str]) -> None:
    """Neither in a run without our fixtures, nor where nothing is async."""
    pytester.makeconftest(PLAYWRIGHT)
    assert names(run(pytester, tests))[: len(order)] == order


LONG = """
import pytest

class Recorder:
    def __init__(self, count): self.lines = [f"message {n}" for n in range(count)]
    def start(self): return self
    def __str__(self): return "\\n".join(self.lines[-20:])
    @property
    def transcript(self): return "\\n".join(self.lines)

@pytest.mark.parametrize("count", [20, 500])
def test_fails(count, record_websockets, monkeypatch):
    monkeypatch.setattr("micropie.testing.browser.WebSocketRecorder", lambda *_: Recorder(count))
    record_websockets("a page")
    assert not count
"""


def test_a_long_record_is_in_a_file(pytester: pytest.Pytester) -> None:
    """The report shows its end, and names the file."""
    result = run(pytester, LONG)
    told = str(result.stdout)
    assert told.count("WebSockets of a page") == 2
    assert told.count("\nmessage ") == 40
    [file] = re.findall(r"^All of it is in (.+)$", told, re.MULTILINE)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    assert lines == ["test_app.py::test_fails[500]", *(f"message {n}" for n in range(500))]
