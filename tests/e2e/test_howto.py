"""The how-to pages' apps, used as their reader uses them: in the browser."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import ROOT, missing, own_browser
from tests.e2e.proxying import find_nginx, proxy
from tests.serving import Server, serve
from tools.blocks import blocks, find_run, pytest_runs

pytest_plugins = ["pytester"]

HOWTO = ROOT / "docs" / "howto"

Visit = Callable[..., Visitor]
RunBlock = Callable[[str, str], AbstractContextManager[Server]]


@pytest.fixture
def run_block(tmp_path: Path) -> RunBlock:
    """Return a function that serves a named block of a page by the page's own command."""

    @contextmanager
    def run_block(page: str, name: str) -> Iterator[Server]:
        run = find_run(HOWTO / f"{page}.rst", name)
        run.write(tmp_path)
        with serve(tmp_path, run.command) as server:
            yield server

    return run_block


def fill(page: Page, label: str, text: str) -> None:
    """Fill a form's field and send the form."""
    field = page.get_by_label(label).first
    field.fill(text)
    field.press("Enter")


def test_a_logout_in_one_tab_is_seen_in_the_other(run_block: RunBlock, visit: Visit) -> None:
    with run_block("sessions", "sessions-login") as server:
        visitor = visit(server.url)
        fill(visitor.page, "Password", "apple")
        other = visitor.page.context.new_page()
        other.goto(f"{server.url}me")
        for tab in (visitor.page, other):
            expect(tab.locator("p").first).to_have_text("You are alice.")
            expect(tab.locator("#inbox")).to_have_text("No news for alice.")
        visitor.page.get_by_role("button").click()
        expect(visitor.page.get_by_label("Password")).to_be_visible()
        expect(other.locator("#inbox")).to_have_text("You are logged out.")


def test_a_form_with_its_token(run_block: RunBlock, visit: Visit) -> None:
    with run_block("middleware-recipes", "recipe-app") as server:
        visitor = visit(f"{server.url}basket")
        assert visitor.page.url == f"{server.url}login"
        fill(visitor.page, "user", "alice")
        fill(visitor.page, "pie", "<b>")
        expect(visitor.page.locator("body")).to_have_text("One <b> for alice.")


def test_events_go_on_after_a_restart(run_block: RunBlock, visit: Visit) -> None:
    with run_block("server-sent-events", "sse-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        for visitor in (alice, bob):
            expect(visitor.page.locator("#state")).to_have_text("connected")
            visitor.expect_error("ERR_INCOMPLETE_CHUNKED_ENCODING")  # The restart.
        fill(alice.page, "News", "hot")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#news li")).to_have_text(["hot"])
        server.restart()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#state")).to_have_text("connected")
        fill(bob.page, "News", "<b>")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#news li")).to_have_text(["<b>", "hot"])
        bob.page.close()
        server.wait_for_log("1 readers left.")
        alice.page.goto("about:blank")


@pytest.mark.parametrize("status", [204, 401])
def test_a_browser_does_not_ask_again_where_it_was_refused(
    status: int, run_block: RunBlock, visit: Visit
) -> None:
    with run_block("server-sent-events", "sse-app") as server:
        visitor = visit("about:blank")
        if status == 401:
            visitor.expect_error("401")
        visitor.page.route("**/events", lambda route: route.fulfill(status=status))
        visitor.page.goto(server.url)
        expect(visitor.page.locator("#state")).to_have_text("refused")


def test_a_page_comes_back_and_misses_nothing(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-reconnect", "reconnect-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        for visitor in (alice, bob):
            expect(visitor.page.locator("#state")).to_have_text("connected")
        fill(alice.page, "Line", "one")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#lines li")).to_have_text(["one"])
        server.stop()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#state")).to_have_text("connecting again")
        server.start()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#state")).to_have_text("connected")
        fill(bob.page, "Line", "two")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#lines li")).to_have_text(["one", "two"])
        httpx.post(f"{server.url}finish")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#state")).to_have_text("That was all.")


def test_a_page_gets_what_it_has_missed(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-reconnect", "reconnect-app") as server:
        routes: list[WebSocketRoute] = []

        def connect(route: WebSocketRoute) -> None:
            if routes:
                httpx.post(f"{server.url}say", data={"text": "meanwhile"})
            routes.append(route)
            route.connect_to_server()

        visitor = visit("about:blank")
        visitor.page.route_web_socket(re.compile("/lines"), connect)
        visitor.page.goto(server.url)
        fill(visitor.page, "Line", "one")
        expect(visitor.page.locator("#lines li")).to_have_text(["one"])
        routes[0].close(code=1012)
        expect(visitor.page.locator("#lines li")).to_have_text(["one", "meanwhile"])
        first, second = (route.url.partition("after=")[2] for route in routes)
        assert first == ""
        assert re.fullmatch("[0-9a-f]{16}", second)
        visitor.page.goto("about:blank")


def test_the_score_reaches_everybody(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-push", "push-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        for visitor in (alice, bob):
            expect(visitor.page.locator("h1")).to_have_text("0 : 0")
        alice.page.get_by_role("button", name="Goal for us").click()
        bob.page.get_by_role("button", name="Goal for them").click()
        for visitor in (alice, bob):
            expect(visitor.page.locator("h1")).to_have_text("1 : 1")
        alice.page.close()
        server.wait_for_log("A spectator left with code 1001.")


def test_prices_both_ways(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-both-ways", "both-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        alice.page.get_by_role("button", name="Watch").click()
        expect(alice.page.locator("#log")).to_have_text('{"apple":4.5}\n')
        bob.page.get_by_role("button", name="Set the price").click()
        expect(alice.page.locator("#log")).to_have_text('{"apple":4.5}\n{"apple":4.8}\n')
        expect(bob.page.locator("#log")).to_have_text("")


@pytest.mark.parametrize("way", ["Subprotocol", "First message", "Ticket"])
def test_a_token_from_a_browser(way: str, run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-tokens", "tokens-app") as server:
        visitor = visit(server.url)
        visitor.page.get_by_role("button", name=way).click()
        expect(visitor.page.locator("#log li")).to_have_text(["Hello alice!"])


def test_a_job_reaches_every_page(run_block: RunBlock, visit: Visit) -> None:
    with run_block("background-tasks", "background-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        for visitor in (alice, bob):
            expect(visitor.page.locator("#seconds")).not_to_have_text("0")
        alice.page.get_by_role("button").click()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#baked")).to_have_text("1")


def test_a_piece_of_a_page_comes_over_the_socket(run_block: RunBlock, visit: Visit) -> None:
    with run_block("templates", "templates-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        fill(alice.page, "Name", "<b>")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#pies li")).to_have_text(
                ["apple: 4.50 €", "cherry: 5.20 €", "<b>: 4.80 €"]
            )


def test_socketio_knows_the_user_of_the_page(run_block: RunBlock, visit: Visit, npm_packages: Path) -> None:
    with run_block("socketio", "socketio-app") as server:
        alice, bob = visit(server.url), visit(server.url)
        for visitor, name in ((alice, "<b>"), (bob, "bob")):
            fill(visitor.page, "Name", name)
            expect(visitor.page.locator("#state")).to_have_text("connected")
        other = alice.page.context.new_page()
        other.goto(server.url)
        expect(other.locator("#state")).to_have_text("connected")
        fill(alice.page, "Line", "hi")
        expect(alice.page.locator("#state")).to_have_text("told")
        for page, lines in {
            alice.page: ["<b>: hi"],
            other: ["from your other page: hi", "<b>: hi"],
            bob.page: ["<b>: hi"],
        }.items():
            expect(page.locator("#log li")).to_have_text(lines)
        alice.page.get_by_role("button", name="Log out").click()
        expect(alice.page.get_by_label("Name")).to_be_visible()
        expect(other.locator("#state")).to_have_text("io server disconnect")
        fill(bob.page, "Line", "still here")
        expect(bob.page.locator("#log li")).to_have_text(["<b>: hi", "bob: still here"])
        for page in (other, bob.page):
            page.goto("about:blank")


def test_socketio_around_the_app_reads_the_session(
    run_block: RunBlock, visit: Visit, npm_packages: Path
) -> None:
    with run_block("socketio", "socketio-around-app") as server:
        visitor = visit(server.url)
        expect(visitor.page.locator("#state")).to_have_text("You were here 1 times.")
        visitor.page.reload()
        expect(visitor.page.locator("#state")).to_have_text("You were here 2 times.")
        visitor.page.goto("about:blank")


@pytest.fixture
def two_sites(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """The API and the page of another origin, not started yet; the page finds the API at the port that it has."""
    runs = [find_run(HOWTO / "cors.rst", name) for name in ("cors-app", "cors-page")]
    api, front = (Server(tmp_path, run.command) for run in runs)
    with closing(api), closing(front):
        for name, source in runs[1].files.items():
            (tmp_path / name).write_text(source.replace(":8000", f":{api.port}"), encoding="utf-8")
        api.start()
        front.start()
        yield api, front


def test_cors(two_sites: tuple[Server, Server], tmp_path: Path, visit: Visit) -> None:
    """The page of another origin stays empty until it is named."""
    api, front = two_sites
    visitor = visit("about:blank")
    for error in ("blocked by CORS policy", "ERR_FAILED", "Failed to fetch"):
        visitor.expect_error(error)
    visitor.page.goto(front.url)
    visitor.page.wait_for_event("pageerror") if not visitor.errors else None
    expect(visitor.page.locator("#pies")).to_have_text("...")
    app = tmp_path / "app.py"
    app.write_text(app.read_text(encoding="utf-8").replace(":8080", f":{front.port}"), encoding="utf-8")
    api.restart()
    visitor.page.reload()
    expect(visitor.page.locator("#pies")).to_have_text("apple, cherry, plum")
    expect(visitor.page.locator("#count")).to_have_text("3")


def test_a_style_sheet_is_kept(run_block: RunBlock, browser: Browser) -> None:
    with run_block("static-files", "static-app") as server:
        with closing(
            browser.new_context()
        ) as context:  # A visitor's context routes, which turns its cache off.
            page = context.new_page()
            for address in ("", "?again"):
                with page.expect_response(re.compile("style.css")) as styled:
                    page.goto(f"{server.url}{address}")
                assert page.evaluate("getComputedStyle(document.body).color") == "rgb(155, 39, 67)"
                assert styled.value.headers["cache-control"] == "public, max-age=31536000, immutable"
        server.stop()
        assert server.log().count('"GET /static/style.css') == 1


def test_nginx_serves_the_files(run_block: RunBlock, tmp_path: Path) -> None:
    """The page's snippet; no request for a file reaches the app."""
    if find_nginx() is None:
        missing("There is no nginx.")
    folder = tmp_path / "nginx"
    folder.mkdir()
    [shown] = [block for block in blocks(HOWTO / "static-files.rst") if block.name == "static-nginx-file"]
    with run_block("static-files", "static-app") as app, socket.create_server(("127.0.0.1", 0)) as sock:
        assert "/srv/shop/static/" in shown.source
        snippet = shown.source.replace("/srv/shop/", f"{tmp_path}/")
        (folder / "static.conf").write_text(snippet, encoding="utf-8")
        port = sock.getsockname()[1]
        site = f"""server {{
            listen 127.0.0.1:{port};
            include static.conf;
            location / {{ proxy_pass http://127.0.0.1:{app.port}; }}
        }}"""
        with proxy(folder, site, [sock]), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            [address] = re.findall(r'rel="stylesheet" href="(.+?)"', client.get("/").text)
            for path, rule in {
                f"/{address}": "public, max-age=31536000, immutable",
                "/static/style.css": "no-cache",
            }.items():
                answer = client.get(path)
                assert (answer.status_code, answer.headers["Cache-Control"]) == (200, rule)
                assert "font-family" in answer.text
            assert client.get("/static/../app.py").status_code == 404
            assert client.get("/static/..%2Fapp.py").status_code in (400, 404)
        app.stop()
        assert "/static/style.css" not in app.log()


def test_the_browser_tests_of_a_page(
    browser_type_launch_args: dict[str, Any], pytester: pytest.Pytester
) -> None:
    """As their reader runs them, with the page's own choice of a Chromium where that finds the one of this run."""
    [run] = pytest_runs(HOWTO / "browser-tests.rst")
    run.write(pytester.path)
    if browser_type_launch_args.get("executable_path") != shutil.which("chromium"):
        pytester.makeconftest(own_browser(browser_type_launch_args))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=run.files["test_app.py"].count("\ndef test_"))
