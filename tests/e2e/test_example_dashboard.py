"""The example dashboard: the server measures itself, and every page draws along."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, WebSocketRoute, expect

from micropie.testing.browser import RecordedWebSocket
from tests.e2e.browsing import RunExample, Show, Visit
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def times(socket: RecordedWebSocket) -> list[float]:
    return [sample["time"] for frame in socket.received for sample in json.loads(frame)]


def expect_value(page: Page, chart: str, value: str) -> None:
    expect(page.get_by_role("figure").filter(has_text=chart).locator("b")).to_have_text(value)


def paths(page: Page) -> list[str]:
    found: list[str] = page.locator("path.line").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('d'))"
    )
    return found


def expect_to_go_on(page: Page) -> None:
    """Wait until the first line is another one."""
    other = "(path) => document.querySelector('path.line').getAttribute('d') !== path"
    page.wait_for_function(other, arg=paths(page)[0])


def test_dashboard(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("dashboard") as dashboard:
        alice = visit(dashboard.url)
        page = alice.page
        expect_value(page, "Pages looking on", "1")
        bob = visit(dashboard.url)
        for visitor in (alice, bob):
            expect_value(visitor.page, "Pages looking on", "2")
        with page.expect_response("**/work") as answer:
            page.get_by_role("button", name="Give the server work").click()
        assert answer.value.status == 204
        expect_to_go_on(page)
        show(alice, "dashboard")

        bob.page.get_by_role("button", name="Pause").click()
        expect(bob.page.get_by_role("status")).to_have_text("Paused")
        expect(bob.page.get_by_role("button", name="work")).to_be_disabled()
        expect_value(page, "Pages looking on", "1")
        bob.page.get_by_role("button", name="Go on").click()
        expect(bob.page.get_by_role("status")).to_have_text("Connected")
        expect_value(page, "Pages looking on", "2")
        expect_value(bob.page, "Pages looking on", "2")
        first, second = bob.sockets
        [after] = parse_qs(urlsplit(second.url).query)["after"]
        assert float(after) == times(first)[-1]
        every = [time for time in times(alice.sockets[0]) if times(first)[0] <= time <= times(second)[-1]]
        assert [*times(first), *times(second)][
            : len(every)
        ] == every  # Nothing was missed, nothing came twice.

        bob.page.evaluate(HIDE, True)
        expect_value(page, "Pages looking on", "1")
        bob.page.evaluate(HIDE, False)
        expect_value(page, "Pages looking on", "2")
        bob.page.close()
        expect_value(page, "Pages looking on", "1")


def test_dashboard_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("dashboard") as dashboard:
        visitor = visit(dashboard.url)
        page = visitor.page
        expect_value(page, "Pages looking on", "1")
        dashboard.server.stop()
        visitor.expect_status("Connection lost (code 1012)")
        expect(page.get_by_role("button", name="work")).to_be_disabled()
        dashboard.server.start()
        expect_to_go_on(page)
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect(page.get_by_role("button", name="work")).to_be_enabled()
        assert times(visitor.sockets[1])[0] > times(visitor.sockets[0])[-1]


def sample(time: float, processor: float) -> dict[str, Any]:
    return {"time": time, "processor": processor, "delay": 2.5, "pages": 3}


def test_what_the_charts_show(visit: Visit) -> None:
    """From samples that the test makes up: a line, a gap, and looking back."""
    # Twenty seconds, of which the page has nothing between the fifth and the fifteenth.
    samples = [sample(1000, 0), sample(1001, 50), sample(1002, 100), sample(1018, 200), sample(1020, 40)]

    def answer(socket: WebSocketRoute) -> None:
        socket.send(json.dumps(samples))

    with serve(EXAMPLES / "dashboard") as server:
        page = visit(server.url).page
        page.route_web_socket("**/samples?*", answer)
        page.reload()
        expect_value(page, "Processor", "40 %")
        expect_value(page, "Event loop, late by", "2.5 ms")
        expect_value(page, "Pages looking on", "3")
        # 600 wide for 20 seconds, 100 high for 200 %; two runs, since the gap is longer than two seconds.
        assert paths(page)[0] == "M0.0 100.0L30.0 75.0L60.0 50.0M540.0 0.0L600.0 80.0"
        chart = page.get_by_role("img", name="Processor: at most 200 % in 20 seconds")
        expect(chart).to_be_visible()
        expect(page.get_by_role("figure").first).to_contain_text("20 s ago")

        page.get_by_role("group", name="Charts").focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect_value(page, "Processor", "100 %")
        expect(page.locator("#when")).to_have_text("18.0 s before the newest")
        page.keyboard.press("ArrowRight")
        expect_value(page, "Processor", "200 %")
        page.keyboard.press("Escape")
        expect_value(page, "Processor", "40 %")
        chart.hover(position={"x": 2, "y": 20})
        expect_value(page, "Processor", "0 %")
        page.get_by_role("heading").hover()
        expect_value(page, "Processor", "40 %")
