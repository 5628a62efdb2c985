"""The table of an app's routes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

from micropie import App, FromSession, WebSocket, methods
from micropie.cli.loading import load
from micropie.cli.routetable import route_table

# What `from __future__ import annotations` above leaves as text is evaluated here, where no source is at hand.
EVALUATED = """
from typing import Literal
from uuid import UUID
from micropie import App, FromSession, WebSocket
class Evaluated(App):
    async def index(self, size: Literal["s", "m"] | None = None, *, user: FromSession[UUID]): ...
    async def ws_index(self, ws: WebSocket, since: FromSession[int | None] = None): ...
"""

# In a file its source is at hand, whether or not annotations are evaluated, as they are here.
SOURCE = """
import datetime, functools, inspect, uuid
from enum import Enum
from typing import Optional
from uuid import UUID
from micropie import App, FromSession, WebSocket, methods

class Size(Enum):
    SMALL, LARGE = "s", "l"

def logged(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        return await function(*args, **kwargs)
    return wrapper

def changed(function):
    function.__signature__ = inspect.signature(lambda self, when: None)
    return function

class Shop(App):
    async def short(self, no: UUID, at: datetime.date = datetime.date.min): ...
    async def full(self, no: uuid.UUID, *days: datetime.date, plain=Size.LARGE): ...
    @logged
    @methods("GET")
    async def wrapped(self, a: "UUID", /, size: Optional[int] = None, *, by: FromSession[Size], **more: int): ...
    @changed
    async def shown_as_it_says(self, other: int): ...
    async def ws_chat(self, ws: WebSocket, size: Size = Size.SMALL): ...

app = Shop()
"""


class Child(App):
    async def index(self) -> str:
        return ""


async def other(_scope: Any, _receive: Any, _send: Any) -> None: ...


class Bakery(App):
    """A class has a docstring too, which is no route's."""

    oven = "hot"

    async def _secret(self) -> None: ...

    async def index(self) -> str:
        """The shop window."""
        return ""

    @methods("GET")
    async def pie(self, no: int, *, user: FromSession[str]) -> str:
        """One pie.

        With all that is in it.
        """
        return ""

    @methods("POST", "put")
    def order(self, pie, *more, gift=False, **notes): ...

    async def ws_chat(self, ws: WebSocket, room: str = "lobby") -> None:
        """Talk to the baker."""

    async def ws_index(self, ws: WebSocket) -> None: ...

    def ws_wrong(self, ws: WebSocket) -> None: ...


def test_the_routes_of_an_app() -> None:
    bakery = Bakery()
    bakery.mount("/old", other)
    bakery.mount("/branch", Child())
    assert (
        route_table(bakery)
        == """\
METHOD     PATH      ARGUMENTS
any        /                                             The shop window.
POST, PUT  /order    pie, *more, gift=False, **notes
GET, HEAD  /pie      no: int, *, user: FromSession[str]  One pie.
WebSocket  /
WebSocket  /chat     room: str = 'lobby'                 Talk to the baker.
WebSocket  /wrong                                        (refuses: ws_wrong must be 'async def' to handle a WebSocket)
any        /branch/
any        /old/...                                      (mounted: function)"""
    )


def test_annotations_that_are_evaluated_look_the_same() -> None:
    names: dict[str, Any] = {}
    exec(compile(EVALUATED, "app.py", "exec", dont_inherit=True), names)
    size = inspect.formatannotation(Literal["s", "m"] | None)  # each Python shows it in its own way
    assert (
        route_table(names["Evaluated"]())
        == f"""\
METHOD     PATH  ARGUMENTS
any        /     size: {size} = None, *, user: FromSession[uuid.UUID]
WebSocket  /     since: FromSession[int | None] = None"""
    )


def test_annotations_and_defaults_are_shown_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "shop_of_mine.py"
    file.write_text(SOURCE, encoding="utf-8")
    assert (
        route_table(load(str(file)))
        == """\
METHOD     PATH               ARGUMENTS
any        /full              no: uuid.UUID, *days: datetime.date, plain=Size.LARGE
any        /short             no: UUID, at: datetime.date = datetime.date.min
any        /shown_as_it_says  when
GET, HEAD  /wrapped           a: UUID, size: Optional[int] = None, *, by: FromSession[Size], **more: int
WebSocket  /chat              size: Size = Size.SMALL"""
    )
