"""The gallery: the built docs, with every example running inside them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import EXAMPLES, ROOT
from tests.serving import serve

Visit = Callable[..., Visitor]
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/app.py"))


@pytest.mark.usefixtures("npm_packages")  # The chat's page loads the Socket.IO client.
def test_from_a_page_to_the_running_example(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python docs/gallery.py --built {built_docs}") as server:
        page = visit(server.url).page
        for name in NAMES:
            page.goto(f"{server.url}examples/{name}/index.html")
            page.get_by_role("link", name="Open it live").click()
            expect(page).to_have_url(f"{server.url}live/{name}/")
            expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_an_address_without_the_slash(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python docs/gallery.py --built {built_docs}") as server:
        page = visit(f"{server.url}live/echo").page
        expect(page).to_have_url(f"{server.url}live/echo/")
        expect(page.get_by_role("status")).to_have_text("Connected")


def test_an_example_in_a_frame(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python docs/gallery.py --built {built_docs}") as server:
        page = visit(f"{server.url}examples/echo/index.html").page
        page.evaluate("document.body.innerHTML = '<iframe src=\"../../live/echo/\"></iframe>'")
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("status")).to_have_text("Connected")
        frame.get_by_role("textbox").fill("hi")
        frame.get_by_role("button", name="Send").click()
        expect(frame.locator("#log li").last).to_have_text("Echo: hi")


def test_ctrl_c_ends_it(built_docs: Path, visit: Visit) -> None:
    with serve(ROOT, f"python docs/gallery.py --built {built_docs}") as server:
        expect(visit(f"{server.url}live/echo/").page.get_by_role("status")).to_have_text("Connected")
        assert server.stop(signal.SIGINT) == 0


def test_docs_that_are_not_built(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs" / "gallery.py"), "--built", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"There are no built docs in {tmp_path}. Run: tox -e gallery\n"
