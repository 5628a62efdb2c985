"""A browser that trusts nothing: every page is watched, and the only address it reaches is this machine's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserType, Error, expect

from tests.e2e.browsing import RunExample, Served, Show, Visitor
from tests.e2e.looking import look_at
from tests.missing import missing
from tests.running import once
from tests.serving import Server, serve
from tools.blocks import find_run, runs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "docs" / "examples"
WEBSOCKETS = ROOT / "docs" / "tutorial" / "websockets.rst"

expect.set_options(timeout=15_000)  # A limit on a busy machine, never a wait.


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--contact-sheet", metavar="DIR", type=Path, help="a folder for pictures of the site's pages"
    )
    parser.addoption(
        "--write-screenshots",
        action="store_true",
        help="write the pictures of the examples into their folders",
    )


# The browser


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> dict[str, Any]:
    """Choose the Chromium: the one that is named, else Playwright's own, else the system's."""
    flags = [
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # No name leads anywhere, for WebSockets too.
    ]
    args = browser_type_launch_args | {"args": flags}
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox refuses to work for root.
    if named := os.environ.get("MICROPIE_E2E_CHROMIUM"):
        return args | {"executable_path": named}
    try:
        browser_type.launch(**args).close()
    except Error:
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        found = next(filter(None, map(shutil.which, names)), None)
        if found is None:
            missing(
                "There is no Chromium: run 'playwright install chromium', or name one in MICROPIE_E2E_CHROMIUM."
            )
        return args | {"executable_path": found}
    return args


def own_browser(launch_args: dict[str, Any]) -> str:
    """Return the conftest.py of a run of its own, in which the same Chromium is used."""
    used = {name: launch_args[name] for name in ("executable_path", "args") if name in launch_args}
    return f"""
import pytest

@pytest.fixture(scope="session")
def launch():
    return {used!r}

@pytest.fixture(scope="session")
def browser_type_launch_args(launch):
    return launch
"""


@pytest.fixture(scope="session")
def base_url() -> None:
    """No address goes before those of a page; pytest-base-url's own fixture has a form that pytest 9 deprecates."""


@pytest.fixture(scope="session")
def npm_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the browser packages that the lock file pins, and return their folder."""
    npm = shutil.which("npm")
    if npm is None:
        missing("There is no npm, which installs the Socket.IO client and axe for the tests.")

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, folder)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            missing(f"npm could not install the Socket.IO client and axe for the tests:\n{done.stderr}")

    return once(tmp_path_factory, "npm", install) / "node_modules"


# Users and servers


@pytest.fixture
def visit(
    browser: Browser,
    record_websockets: Callable[..., Any],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens an address as a new user. When the test ends, no page may have had an error.

    The pages are closed before a server gives up its address: one that comes back by itself would find no door there.
    """
    packages = request.getfixturevalue("npm_packages") if "npm_packages" in request.fixturenames else None
    visitors: list[Visitor] = []

    def visit(url: str, **options: Any) -> Visitor:
        visitor = Visitor(browser, packages, record_websockets, **options)
        visitors.append(visitor)
        visitor.page.goto(url)
        return visitor

    def close(server: Server) -> None:
        for visitor in visitors:
            visitor.close()
        close_server(server)

    close_server = Server.close
    monkeypatch.setattr(Server, "close", close)
    yield visit
    for visitor in visitors:
        visitor.leave()


@pytest.fixture
def run_block(tmp_path: Path) -> Callable[[str], AbstractContextManager[Server]]:
    """Return a function that serves a named block of the WebSocket page, with the command that the page shows."""

    def run_block(name: str) -> AbstractContextManager[Server]:
        run = find_run(WEBSOCKETS, name)
        run.write(tmp_path)
        return serve(tmp_path, run.command)

    return run_block


@pytest.fixture(params=["alone", "mounted"])
def run_example(request: pytest.FixtureRequest) -> RunExample:
    """Return a function that serves an example, in both ways in which it is found."""

    @contextmanager
    def alone(name: str, own_errors: Collection[str] = ()) -> Iterator[Served]:
        [run] = runs(EXAMPLES / name / "index.rst")
        with serve(EXAMPLES / name, run.command, own_errors=own_errors) as server:
            yield Served(server, server.url)

    @contextmanager
    def mounted(name: str, own_errors: Collection[str] = ()) -> Iterator[Served]:
        built: Path = request.getfixturevalue("built_docs")
        with serve(ROOT, f"python tools/gallery.py --built {built}", own_errors=own_errors) as server:
            yield Served(server, f"{server.url}live/{name}/")

    return {"alone": alone, "mounted": mounted}[request.param]


@pytest.fixture
def show(request: pytest.FixtureRequest, npm_packages: Path, tmp_path: Path) -> Show:
    """Return a function that takes the pictures of an example from a page, and looks for what is wrong with it.

    ``pytest tests/e2e -k example --write-screenshots`` writes them where the docs show them.
    """

    def show(visitor: Visitor, name: str) -> None:
        look_at(visitor.page, npm_packages, tmp_path)
        if request.config.getoption("--write-screenshots"):
            for theme in ("light", "dark"):
                shutil.copy(tmp_path / f"{theme}.webp", EXAMPLES / name)
        sheet: Path | None = request.config.getoption("--contact-sheet")
        if sheet is not None:
            (sheet / "examples").mkdir(parents=True, exist_ok=True)
            for picture in tmp_path.glob("*.png"):
                shutil.copy(picture, sheet / "examples" / f"{name}-{picture.name}")

    return show


@pytest.fixture(scope="session")
def built_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the docs as the gallery shows them."""

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "sphinx", "-q", "-t", "gallery", str(ROOT / "docs"), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "docs", build)
