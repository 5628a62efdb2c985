"""The gallery: the built docs, with every example running inside them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import urlopen
from zipfile import ZipFile

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import ROOT
from tests.serving import serve
from tools import gallery
from tools.examples import examples

Visit = Callable[..., Visitor]
NAMES = list(examples())


@pytest.mark.usefixtures("npm_packages")  # The chat's page loads the Socket.IO client.
def test_from_a_page_to_the_running_example(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        page = visit(server.url).page
        for name in NAMES:
            page.goto(f"{server.url}examples/{name}/index.html")
            with page.context.expect_page() as opened:
                page.get_by_role("link", name="Open it live").click()
            expect(opened.value).to_have_url(f"{server.url}live/{name}/")
            expect(opened.value.get_by_role("heading", level=1)).to_be_visible()
            opened.value.close()
            expect(page).to_have_url(f"{server.url}examples/{name}/index.html")  # The docs are still there.


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", None, 200),
        ("_static/favicon.svg", None, 200),
        ("favicon.ico", None, 404),
        ("examples/ecco/", None, 404),
        ("live/ecco/", None, 404),
        ("live/echo/nothing", None, 404),
        ("", b"", 405),
        ("index.html", b"", 405),
    ],
)
def test_what_the_docs_answer(path: str, body: bytes | None, status: int, built_docs: Path) -> None:
    """A typo and a POST are answered, and ``serve`` finds no traceback."""
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        try:
            answer = urlopen(server.url + path, body)
        except HTTPError as error:
            answer = error
        with answer:
            assert answer.status == status


def test_the_pages_name_their_icon(built_docs: Path) -> None:
    """So that a browser does not ask for one that is not there."""
    for page in ("index.html", "tutorial/websockets.html"):
        assert 'icon" href=' in (built_docs / page).read_text(encoding="utf-8")


def test_an_address_without_the_slash(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        page = visit(f"{server.url}live/echo").page
        expect(page).to_have_url(f"{server.url}live/echo/")
        expect(page.get_by_role("status")).to_have_text("Connected")


# The examples that are connected as soon as they are open, without a name or a login.
AT_ONCE = {"api", "board", "dashboard", "echo", "game", "stream", "together", "upload"}


@pytest.mark.usefixtures("npm_packages")
def test_every_example_in_a_frame(built_docs: Path, visit: Visit) -> None:
    """Its addresses are relative to itself, so all that it loads is there, or the page had errors."""
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        page = visit(f"{server.url}examples/echo/index.html").page
        for name in NAMES:
            page.evaluate(
                "(name) => { document.body.innerHTML = `<iframe src='../../live/${name}/'></iframe>`; }", name
            )
            frame = page.frame_locator("iframe")
            expect(frame.get_by_role("heading", level=1)).to_be_visible()
            expect(frame.locator("html")).to_have_css(
                "color-scheme", "light dark"
            )  # The stylesheet is there.
            if name in AT_ONCE:
                expect(frame.get_by_role("status")).to_have_text("Connected")


def test_every_card_leads_to_a_page_and_a_zip_that_runs(
    built_docs: Path, visit: Visit, tmp_path: Path
) -> None:
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        page = visit(f"{server.url}examples/index.html").page
        for name in NAMES:
            link = page.get_by_role("link", name=f"Zip of {name}", exact=True).get_attribute("href")
            with urlopen(urljoin(page.url, link)) as answer, ZipFile(BytesIO(answer.read())) as archive:
                archive.extractall(tmp_path)
        page.locator(".sd-card", has=page.locator("a[href='chat/index.html']")).click()
        expect(page).to_have_url(f"{server.url}examples/chat/index.html")
    with serve(tmp_path / "echo") as server, urlopen(server.url) as answer:
        assert answer.status == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES


def test_ctrl_c_ends_it(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        page = visit(f"{server.url}live/greet/").page  # It does not connect again by itself.
        page.evaluate(
            """() => new Promise((open) => {
              const socket = new WebSocket(new URL("../echo/echo", document.baseURI).href.replace("http", "ws"));
              socket.onopen = open;
              socket.onclose = (event) => { window.code = event.code; };
            })"""
        )
        assert server.stop(signal.SIGINT) == 0
        page.wait_for_function("window.code === 1012")


def test_the_usual_port_is_not_the_reader_s() -> None:
    pages = (ROOT / "docs" / "examples" / "index.rst").read_text(encoding="utf-8")
    assert gallery.PORT != 8000  # The gallery and an app of the reader's run side by side.
    assert f"http://127.0.0.1:{gallery.PORT}/" in pages


def test_a_port_that_is_taken() -> None:
    taken = socket.socket()
    with closing(taken):
        with suppress(OSError):  # Somebody else may have it: all the better.
            taken.bind(("127.0.0.1", gallery.PORT))
            taken.listen()
        with closing(gallery.listen(None, None)) as sock:
            assert sock.getsockname()[1] != gallery.PORT
        with pytest.raises(OSError, match="in use"):
            gallery.listen(gallery.PORT, None)


def test_docs_that_are_not_built(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "gallery.py"), "--built", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"There are no built docs in {tmp_path}. Run: tox -e gallery\n"
