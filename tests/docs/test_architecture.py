"""The page about the way of a connection: the steps that it tells, and the floors of the modules."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

from micropie import App, FromSession, HttpMiddleware, InMemorySessionBackend, Request
from micropie.sessions.view import Recently
from micropie.testing import TestClient
from tests.test_house import FLOORS
from tools.blocks import DOCS

PAGE = DOCS / "explanation" / "architecture.rst"
PACKAGE = DOCS.parent / "micropie"

# Floors


def floors() -> list[list[str]]:
    """The modules of each floor, as the page has them, the highest first."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"^\.\. module-floors::\n\n((?:   .+\n)+)", text, re.MULTILINE)
    assert found
    return [line.partition(":")[2].split() for line in found[1].splitlines()]


def test_the_page_has_the_floors_that_the_house_is_held_to() -> None:
    assert [" ".join(floor) for floor in floors()] == FLOORS


# The steps of one request


class Steps(HttpMiddleware, InMemorySessionBackend):
    """Notes each step around a handler."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []

    async def load(self, session_id: str) -> dict[str, object]:
        self.taken.append("session loaded")
        await asyncio.sleep(0)  # as a store does that is reached over a network
        return await super().load(session_id)

    async def on_headers(self, request: Request) -> None:
        self.taken.append(f"on_headers, form {request.body_params}")

    async def before_request(self, request: Request) -> None:
        self.taken.append(f"before_request, form {request.body_params}")

    async def after_request(self, request: Request, *answer: object) -> None:
        self.taken.append("after_request")

    async def update(self, *arguments: object) -> bool:
        self.taken.append("session saved")
        return True


class Shop(App):
    async def enter(self, user: str) -> str:
        self.request.session["user"] = user
        return ""

    async def cart(self, action: str, item: int, amount: int, user: FromSession[str]) -> str:
        steps.taken.append(f"{action} {item} times {amount} for {user}")
        return ""


steps = Steps()


async def test_one_request_takes_the_steps_of_the_page_in_their_order() -> None:
    app = Shop(session_backend=steps)
    app.middlewares.append(steps)
    async with TestClient(app) as client:
        await client.get("/enter/Ann")
        steps.taken.clear()
        app._micropie.recently = Recently()  # as if its last renewal were long ago
        answer = await client.post("/cart/add/7", data={"amount": "2"})
    assert answer.status_code == 200
    assert steps.taken == [
        "session loaded",
        "on_headers, form {}",
        "before_request, form {'amount': ['2']}",
        "add 7 times 2 for Ann",
        "after_request",
        "session saved",
    ]


def test_every_place_to_look_exists() -> None:
    """The page's last table: a file, and what is in it."""
    text = PAGE.read_text(encoding="utf-8").partition("Where to look")[2]
    places = re.findall(r"``([\w/]+\.py)``, (?:class|function) ``(\w+)``", text)
    assert len(places) >= 4
    for file, name in places:
        tree = ast.parse(Path(PACKAGE, file).read_text(encoding="utf-8"))
        assert name in {getattr(node, "name", None) for node in tree.body}, (file, name)
