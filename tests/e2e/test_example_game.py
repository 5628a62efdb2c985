"""The example game: players who share one board, whose truth is on the server."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import expect

from tests.e2e.browsing import RunExample, Show, Visit, Visitor
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve

# Walk towards the nearest pie, with the keys or the buttons of the page, until one is caught.
HUNT = """(press) => new Promise((done) => {
  const place = (token) => token.dataset.place.split(" ").map(Number);
  const places = (kind) => [...document.querySelectorAll(`#board .${kind}`)].map(place);
  const pies = () => Number(document.querySelector("#players .me").textContent.match(/\\d+/)[0]);
  const walk = () => {
    if (pies() > 0) {
      watcher.disconnect();
      done(pies());
      return;
    }
    const [[x, y]] = places("me");
    const near = places("pie").sort(([a, b], [c, d]) => Math.hypot(a - x, b - y) - Math.hypot(c - x, d - y))[0];
    if (!near) return;
    const way = near[0] > x ? "Right" : near[0] < x ? "Left" : near[1] > y ? "Down" : "Up";
    if (press === "keys") dispatchEvent(new KeyboardEvent("keydown", { key: `Arrow${way}`, cancelable: true }));
    else document.querySelector(`[aria-label=${way}]`).click();
  };
  const watcher = new MutationObserver(walk);  // Each step of the game draws the list of players.
  watcher.observe(document.querySelector("#players"), { childList: true });
})"""


def states(visitor: Visitor, number: int = 0) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in visitor.sockets[number].received]


def test_two_hunt_pies(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("game") as game:
        one, two = visit(game.url), visit(game.url)
        for visitor in (one, two):
            expect(visitor.page.get_by_role("status")).to_have_text("Connected")
            expect(visitor.page.get_by_label("Players").get_by_role("listitem")).to_have_count(2)
            expect(visitor.page.locator("#board .pie")).to_have_count(4)
            expect(visitor.page.locator("#board .cat")).to_have_count(1)
            expect(visitor.page.locator("#board .me")).to_have_count(1)
        assert one.page.evaluate(HUNT, "keys") == 1
        assert two.page.evaluate(HUNT, "buttons") == 1
        assert {"up", "down", "left", "right"} >= set(one.sockets[0].sent) != set()
        show(one, "game")
        two.page.close()
        expect(one.page.get_by_label("Players").get_by_role("listitem")).to_have_count(1)
    assert any([state["players"][0][3], len(state["players"])] == [1, 2] for state in states(one))


def test_whoever_comes_back_is_the_same_animal(run_example: RunExample, visit: Visit) -> None:
    with run_example("game") as game:
        visitor, other = visit(game.url), visit(game.url)
        page = visitor.page
        expect(page.locator("#board .pie")).to_have_count(4)
        animal = page.locator("#board .me").text_content()
        page.reload()
        expect(page.locator("#board .me")).to_have_text(animal or "")
        game.server.stop()
        for each in (visitor, other):
            expect(each.page.get_by_role("status")).to_contain_text("Connection lost (code 1012)")
            expect(each.page.get_by_role("button", name="Up")).to_be_disabled()
        game.server.start()
        for each in (visitor, other):
            expect(each.page.get_by_role("status")).to_have_text("Connected")
            expect(each.page.get_by_label("Players").get_by_role("listitem")).to_have_count(2)


def test_nobody_is_somebody_else(visit: Visit) -> None:
    with serve(EXAMPLES / "game") as server, serve(EXAMPLES / "echo") as other:
        visitor = visit(other.url)  # A browser that never said hello.
        visitor.page.goto(f"{server.url}static/style.css")
        visitor.expect_error("HTTP Authentication failed")  # 401
        assert visitor.talk(f"{server.url}play?player=x", "up")["code"] == 1006
