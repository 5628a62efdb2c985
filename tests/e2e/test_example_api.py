"""The example api: orders as JSON, of which annotations say what may come in."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.browsing import RunExample, Show, Visit

MISTAKES = {
    "size": ("POST /order 400 Bad Request", "the parameter 'size' must be one of small, medium, large"),
    "day": ("POST /order 400 Bad Request", "the parameter 'day' must be a date such as 2026-01-31"),
    "missing": ("POST /order 400 Bad Request", "the parameter 'day' is missing"),
    "method": ("GET /order 405 Method Not Allowed", "Method Not Allowed"),
    "order": (
        "DELETE /cancel/00000000-0000-4000-8000-000000000000 404 Not Found",
        "There is no such order.",
    ),
}


def order(page: Page, pie: str, size: str, day: str) -> None:
    page.get_by_label("Pie", exact=True).fill(pie)
    page.locator("#order").get_by_label("Size").select_option(size)
    page.locator("#order").get_by_label("Day").fill(day)
    page.get_by_role("button", name="Order", exact=True).click()


def expect_book(page: Page, *pies: str) -> None:
    expect(page.locator("#book b")).to_have_text(list(pies))


def newest(page: Page) -> str:
    return page.locator("#log li").first.text_content() or ""


def test_api(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("api") as api:
        alice = visit(api.url)
        page = alice.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        order(page, "Cherry", "large", "2026-12-24")
        expect_book(page, "Cherry")
        page.get_by_role("checkbox", name="nuts").check()
        order(page, "Apple", "small", "2026-12-23")
        expect_book(page, "Apple", "Cherry")
        assert newest(page).startswith("POST /order 201 Created")
        assert '"toppings": [ "cream", "nuts" ]' in newest(page)

        filters = page.locator("#filter")
        filters.get_by_label("Topping").select_option("nuts")
        expect_book(page, "Apple")
        assert newest(page).startswith("GET /orders?topping=nuts&sort=day 200 OK")
        filters.get_by_label("Topping").select_option("any")
        filters.get_by_label("Sort by").select_option("pie")
        expect_book(page, "Apple", "Cherry")

        bob = visit(api.url)
        expect_book(bob.page, "Apple", "Cherry")
        bob.page.get_by_label("Size of Cherry").select_option("small")
        expect(bob.page.locator("#log li").first).to_contain_text("200 OK")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # Alice comes back to her tab.
        expect(page.get_by_label("Size of Cherry")).to_have_value("small")

        alice.expect_error("status of 400")
        page.get_by_role("button", name="size").click()
        expect(page.locator("#log .bad").first).to_have_text("400 Bad Request")
        show(alice, "api")
        page.get_by_role("button", name="Cancel Cherry").click()
        expect_book(page, "Apple")
        assert newest(page).endswith(" 204 No Content")


def test_mistakes(run_example: RunExample, visit: Visit) -> None:
    with run_example("api") as api:
        visitor = visit(api.url)
        page = visitor.page
        for status in (400, 405, 404):
            visitor.expect_error(f"status of {status}")
        entries = page.locator("#log li")
        expect(entries).to_have_count(1)
        for number, (mistake, (line, words)) in enumerate(MISTAKES.items(), 2):
            page.get_by_role("button", name=mistake, exact=True).click()
            expect(entries).to_have_count(number)
            expect(entries.first).to_contain_text(line)
            expect(entries.first).to_contain_text(words)
        page.get_by_label("Pie", exact=True).evaluate("(field) => { field.removeAttribute('maxlength'); }")
        order(page, "<b>" + "x" * 38, "small", "2026-12-24")
        expect(page.get_by_role("alert")).to_contain_text("A pie has 1 to 40 characters")
        expect_book(page)
        order(page, "<b>" + "x" * 37, "small", "2026-12-24")
        expect_book(page, "<b>" + "x" * 37)  # Somebody's text is text.
        expect(page.get_by_role("alert")).to_have_text("")


def test_api_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("api") as api:
        visitor = visit(api.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        visitor.expect_error("ERR_INTERNET_DISCONNECTED")
        page.context.set_offline(True)
        page.get_by_role("button", name="Order", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("No answer. Trying again in ")
        expect(page.get_by_role("button", name="Order", exact=True)).to_be_disabled()
        page.context.set_offline(False)
        expect(page.get_by_role("status")).to_have_text("Connected")
        api.server.restart()
        page.get_by_role("button", name="Order", exact=True).click()
        expect_book(page, "Apple")
