"""The example board: several browsers draw on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import sin

from playwright.sync_api import Page, expect

from tests.e2e.browsing import RunExample, Show, Visit, Visitor
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve

RED, BLUE, GREEN, CRUST, NOTHING = (
    [179, 38, 58, 255],
    [52, 87, 184, 255],
    [26, 122, 72, 255],
    [227, 168, 87, 255],
    [0, 0, 0, 0],
)

# Whether a spot of the picture, in parts of its width and height, has a colour; thin lines have soft edges.
HAS_COLOUR = """([[x, y], colour]) => {
  const paper = document.querySelector("canvas");
  const spot = paper.getContext("2d").getImageData(x * paper.width, y * paper.height, 1, 1).data;
  return colour.every((value, index) => Math.abs(value - spot[index]) < 8);
}"""

Spot = tuple[float, float]


def expect_colour(page: Page, spot: Spot, colour: list[int]) -> None:
    page.wait_for_function(HAS_COLOUR, arg=[spot, colour])


def on_screen(page: Page, spot: Spot) -> Spot:
    box = page.locator("canvas").bounding_box()
    assert box is not None
    return box["x"] + spot[0] * box["width"], box["y"] + spot[1] * box["height"]


def draw(page: Page, ink: str, spots: Sequence[Spot]) -> None:
    """Draw a line from spot to spot with the mouse."""
    page.get_by_label(ink).check()
    page.mouse.move(*on_screen(page, spots[0]))
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(*on_screen(page, spot), steps=8)
    page.mouse.up()


def pieces(frames: list[str | bytes]) -> list[bytes]:
    return [frame for frame in frames if isinstance(frame, bytes)]


def expect_people(visitor: Visitor, words: str) -> None:
    expect(visitor.page.locator("#people")).to_have_text(words)


def test_board(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("board") as board:
        alice = visit(board.url)
        expect_people(alice, "only you")
        bob = visit(board.url)
        for visitor in (alice, bob):
            expect_people(visitor, "2 people")

        draw(alice.page, "Red", [(0.1, 0.7), (0.25, 0.2), (0.4, 0.7)])  # A roof, and another one beside it.
        draw(bob.page, "Blue", [(0.2, 0.7), (0.35, 0.35), (0.5, 0.7)])
        for visitor in (alice, bob):
            expect_colour(visitor.page, (0.25, 0.2), RED)
            expect_colour(visitor.page, (0.35, 0.35), BLUE)
        waves = [(at / 60, 0.82 + 0.04 * sin(at / 3)) for at in range(3, 58)]
        draw(bob.page, "Green", waves)
        first = pieces(alice.sockets[0].sent)[0]
        assert first[:4] == bytes([2, 12, 0, 1])  # The second ink, its width, one point ...
        assert abs(int.from_bytes(first[4:6], "big") - 0.1 * 65535) < 200  # ... a tenth from the left.
        assert first in pieces(bob.sockets[0].received)

        alice.page.get_by_label("Pie").check()
        alice.page.get_by_label("Thick").check()
        alice.page.mouse.click(*on_screen(alice.page, (0.75, 0.35)))
        expect_colour(bob.page, (0.75, 0.35), CRUST)

        carol = visit(board.url)  # She comes late.
        for spot, colour in {(0.25, 0.2): RED, (0.35, 0.35): BLUE, (0.75, 0.35): CRUST}.items():
            expect_colour(carol.page, spot, colour)
        # She got as one message what came to Bob piece by piece.
        assert pieces(carol.sockets[0].received) == [b"".join(pieces(bob.sockets[0].received))]
        expect_people(alice, "3 people")
        carol.page.close()
        expect_people(alice, "2 people")
        show(alice, "board")
        expect_colour(alice.page, (0.25, 0.2), RED)  # It was painted again at each size.

        with alice.page.expect_download() as saved:
            alice.page.get_by_role("button", name="Save").click()
        assert saved.value.suggested_filename == "board.png"
        assert saved.value.path().read_bytes()[:4] == b"\x89PNG"

        bob.page.once("dialog", lambda dialog: dialog.dismiss())
        bob.page.get_by_role("button", name="Clear").click()
        assert "clear" not in bob.sockets[0].sent
        bob.page.once("dialog", lambda dialog: dialog.accept())
        bob.page.get_by_role("button", name="Clear").click()
        for visitor in (alice, bob):
            expect_colour(visitor.page, (0.25, 0.2), NOTHING)


def test_board_with_the_keyboard_and_a_finger(run_example: RunExample, visit: Visit) -> None:
    with run_example("board") as board:
        page = visit(board.url, has_touch=True, viewport={"width": 360, "height": 640}).page
        expect(page.get_by_role("status")).to_have_text("Connected")
        page.get_by_label("Green").focus()
        page.keyboard.press("Space")
        page.get_by_role("application", name="Picture").focus()
        for key in ("ArrowLeft", "Space", *["Shift+ArrowRight"] * 4, "ArrowDown", "Space", "Shift+ArrowUp"):
            page.keyboard.press(key)
        expect_colour(page, (0.6, 0.5), GREEN)
        expect_colour(page, (0.5, 0.4), NOTHING)

        page.get_by_label("Blue").tap()
        session = page.context.new_cdp_session(page)
        moves: list[tuple[str, list[Spot]]] = [
            ("touchStart", [(0.2, 0.2)]),
            ("touchMove", [(0.8, 0.2)]),
            ("touchEnd", []),
        ]
        for kind, spots in moves:
            points = [dict(zip("xy", on_screen(page, spot), strict=True)) for spot in spots]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        expect_colour(page, (0.5, 0.2), BLUE)


def test_board_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("board") as board:
        visitor = visit(board.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        draw(page, "Red", [(0.2, 0.2), (0.8, 0.2)])
        expect_colour(page, (0.5, 0.2), RED)
        board.server.stop()
        visitor.expect_status("Connection lost (code 1012)")
        expect(page.locator("#people")).to_have_text("offline")
        expect(page.get_by_role("button", name="Clear")).to_be_disabled()
        draw(page, "Blue", [(0.2, 0.6), (0.8, 0.6)])  # Nobody would see it, so it is not painted either.
        expect_colour(page, (0.5, 0.6), NOTHING)
        board.server.start()
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect_colour(page, (0.5, 0.2), NOTHING)  # The picture was in the server's memory.
        draw(page, "Green", [(0.2, 0.8), (0.8, 0.8)])
        expect_colour(page, (0.5, 0.8), GREEN)


def test_board_takes_nothing_but_lines(visit: Visit) -> None:
    with serve(EXAMPLES / "board") as server:
        said = visit(server.url).talk("draw", *["What is this?"] * 9)
        assert (said["code"], said["reason"]) == (1008, "That is no piece of a line.")
