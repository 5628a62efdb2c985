"""The example upload: files are read while they come in, and a WebSocket tells how far they are."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

from playwright.sync_api import FilePayload, Page, expect

from tests.e2e.browsing import RunExample, Show, Visit, Visitor

PIE = b"apple" * 200_000


def choose(page: Page, name: str, content: bytes) -> None:
    chosen: FilePayload = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.get_by_label("Choose files").set_input_files(chosen)


def slow_down(page: Page, bytes_per_second: int) -> None:
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    session = page.context.new_cdp_session(page)
    session.send("Network.emulateNetworkConditions", {**conditions, "uploadThroughput": bytes_per_second})


def told(visitor: Visitor, name: str) -> list[dict[str, Any]]:
    """What the server told of an upload, in order."""
    lists = [json.loads(frame) for socket in visitor.sockets for frame in socket.received]
    return [upload for uploads in lists for upload in uploads if upload["name"] == name]


def test_upload(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("upload") as upload:
        visitor, stranger = visit(upload.url), visit(upload.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect(page.locator("#limit")).to_contain_text("At most 32 MiB each.")
        second_tab = page.context.new_page()
        second_tab.goto(upload.url)
        choose(page, "recipe.txt", b"")
        choose(page, "apple pie.jpg", PIE)
        for tab in (page, second_tab):
            row = tab.get_by_role("listitem").filter(has_text="apple pie.jpg")
            expect(row).to_contain_text(f"Done: 976.6 KiBSHA-256 {hashlib.sha256(PIE).hexdigest()}")
            expect(tab.get_by_role("listitem").filter(has_text="recipe.txt")).to_contain_text("Done: 0 bytes")
        sizes = [news["size"] for news in told(visitor, "apple pie.jpg")]
        assert sizes == sorted(sizes)
        assert sizes[-1] == len(PIE)

        slow_down(page, 500_000)  # On a busy machine the page hears of it seconds late.
        choose(page, "cherry pie.mov", bytes(20_000_000))
        row = page.get_by_role("listitem").filter(has_text="cherry pie.mov")
        page.wait_for_function("document.querySelector('progress').value > 3e6")
        slow_down(page, 50_000)  # It is on its way for as long as the test looks at it.
        expect(row).to_contain_text("of 19.1 MiB have come in")
        show(visitor, "upload")
        row.get_by_role("button", name="Cancel").click()
        expect(row).to_contain_text("Cancelled, after")
        expect(row.get_by_role("button")).to_be_hidden()
        # The server has noticed: it says so to the other tab, where nobody cancelled anything.
        other = second_tab.get_by_role("listitem").filter(has_text="cherry pie.mov")
        expect(other).to_contain_text("Failed: 400 Bad Request: the body is not complete")
        second_tab.close()

        expect(stranger.page.get_by_role("status")).to_have_text("Connected")
        expect(stranger.page.get_by_role("listitem")).to_have_count(0)
        assert set(stranger.sockets[0].received) == {"[]"}


def test_upload_of_too_much(run_example: RunExample, visit: Visit, tmp_path: Path) -> None:
    with run_example("upload") as upload:
        visitor = visit(upload.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        posted: list[str] = []
        page.on("request", lambda request: posted.append(request.url))
        with (tmp_path / "<b>every pie.zip").open("wb") as file:
            file.truncate(33 * 1024 * 1024)
        page.get_by_label("Choose files").set_input_files(tmp_path / "<b>every pie.zip")
        words = "<b>every pie.zipCancelFailed: it has 33 MiB, and at most 32 MiB are allowed"
        expect(page.get_by_role("listitem")).to_contain_text(words)
        assert posted == []


def test_upload_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("upload") as upload:
        visitor = visit(upload.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        slow_down(page, 100_000)
        choose(page, "cherry pie.mov", bytes(600_000))
        expect(page.get_by_role("listitem")).to_contain_text("have come in")
        page.wait_for_function("document.querySelector('progress').value > 0")
        visitor.expect_error("Failed to load resource")
        upload.server.stop(signal.SIGKILL)
        visitor.expect_status("Connection lost (code 1006)")
        expect(page.get_by_label("Choose files")).to_be_disabled()
        upload.server.start()  # It knows nothing of the session that it has given to the page.
        # Chromium says so at once or, where it had used that connection before, sends all of it again by itself, to
        # somebody who answers 401.
        expect(page.get_by_role("listitem")).to_contain_text("Failed: ")
        expect(page.get_by_role("status")).to_have_text("Connected")
        slow_down(page, -1)
        choose(page, "apple pie.jpg", bytes(10_240))
        expect(page.get_by_role("listitem").first).to_contain_text("Done: 10 KiB")
