"""The example notify: a login, and notes that appear in all tabs of one user."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.browsing import RunExample, Show, Visit
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve

PASSWORDS = {"Alice": "apple", "Bob": "banana", "Carol": "cherry"}


def log_in(page: Page, name: str) -> None:
    page.get_by_label(name).check()
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Connected")


def send(page: Page, to: str, text: str) -> None:
    page.get_by_label("To").select_option(to)
    page.get_by_role("textbox", name="Note").fill(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Note")).to_have_value("")


def test_all_tabs_of_one_user(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("notify") as notify:
        alice, bob = visit(notify.url), visit(notify.url)
        log_in(alice.page, "Alice")
        log_in(bob.page, "Bob")
        expect(alice.page.locator("#who")).to_have_text("You are Alice, in 1 tab.")
        other = alice.page.context.new_page()  # Another tab of the same browser: no login is needed.
        other.goto(notify.url)
        tabs = [alice.page, other]
        for tab in tabs:
            expect(tab.locator("#who")).to_have_text("You are Alice, in 2 tabs.")

        send(bob.page, "Alice", "The <b>pie</b> is ready.")
        send(bob.page, "Alice", "Where are you?")
        for tab in tabs:
            texts = ["BobWhere are you?Mark as read", "BobThe <b>pie</b> is ready.Mark as read"]
            expect(tab.locator("#notes li")).to_have_text(texts)
            expect(tab).to_have_title("(2) Inbox")
        alice.page.get_by_role("button", name="Mark as read").last.click()
        for tab in tabs:
            expect(tab).to_have_title("(1) Inbox")
            expect(tab.locator("#notes .read")).to_have_text("BobThe <b>pie</b> is ready.")
        expect(bob.page.locator("#notes li")).to_have_count(0)
        show(alice, "notify")

        other.get_by_role("button", name="Log out").click()
        for tab in tabs:
            expect(tab.get_by_role("status")).to_have_text("Closed with code 4001: You are logged out.")
            expect(tab.get_by_role("button", name="Log in")).to_be_visible()
        send(bob.page, "Alice", "Never mind.")  # It waits for her.
        log_in(other, "Alice")
        expect(other).to_have_title("(2) Inbox")
        other.close()


def test_the_login_comes_first(visit: Visit) -> None:
    with serve(EXAMPLES / "notify") as server:
        visitor = visit(server.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Not connected")
        visitor.expect_error("HTTP Authentication failed")  # 401
        assert visitor.talk("inbox?user=Alice", "hi")["code"] == 1006
        visitor.expect_error("403")
        page.get_by_label("Password").fill("pear")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the password.")
        before = {cookie["name"] for cookie in page.context.cookies()}
        log_in(page, "Alice")
        expect(page.get_by_role("alert")).to_have_count(0)
        assert before == set()
        [cookie] = page.context.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("session_id", True, "Lax")
        log_in_again = cookie["value"]
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        log_in(page, "Alice")
        assert page.context.cookies()[0]["value"] != log_in_again


def test_a_server_that_starts_again_wants_a_login(run_example: RunExample, visit: Visit) -> None:
    with run_example("notify") as notify:
        visitor = visit(notify.url)
        page = visitor.page
        log_in(page, "Carol")
        notify.server.stop()
        visitor.expect_status("Connection lost (code 1012)")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        notify.server.start()
        expect(page.get_by_role("status")).to_have_text("Not connected")
        log_in(page, "Carol")
