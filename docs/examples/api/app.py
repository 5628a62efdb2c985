"""API: orders as JSON. Annotations say what is valid, and MicroPie refuses anything else."""

from dataclasses import dataclass
from datetime import date
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

from micropie import App, HTTPError, methods

HERE = Path(__file__).parent


class Size(Enum):
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass
class Order:
    id: UUID
    pie: str
    size: Size
    day: date
    toppings: list[str]

    def as_json(self):
        return {
            "id": str(self.id),
            "pie": self.pie,
            "size": self.size.value,
            "day": self.day.isoformat(),
            "toppings": self.toppings,
        }


class Bakery(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.book: dict[UUID, Order] = {}

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css"]):
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", "text/css")]

    @methods("GET")
    async def orders(
        self,
        size: Size | None = None,
        topping: list[str] | None = None,
        sort: Literal["day", "pie"] = "day",
    ):
        """List the orders of one size that have all of some toppings."""
        wanted = set(topping or ())
        found = [
            order
            for order in self.book.values()
            if size in {None, order.size} and wanted <= set(order.toppings)
        ]
        found.sort(key=lambda order: getattr(order, sort))
        return [order.as_json() for order in found]

    @methods("POST")
    async def order(self, pie: str, size: Size, day: date, toppings: list[str] | None = None):
        toppings = toppings or []
        if not pie or len(toppings) > 5 or any(len(word) > 40 for word in [pie, *toppings]):
            raise HTTPError(400, "A pie has 1 to 40 characters, and at most 5 toppings of 40.")
        if len(self.book) == 100:
            raise HTTPError(409, "The oven is full: cancel an order first.")
        new = Order(uuid4(), pie, size, day, toppings)
        self.book[new.id] = new
        return 201, new.as_json()

    @methods("PATCH")
    async def change(self, order: UUID, size: Size | None = None, day: date | None = None):
        """Change what is given of an order: ``/change/ID``."""
        changed = self._find(order)
        changed.size, changed.day = size or changed.size, day or changed.day
        return changed.as_json()

    @methods("DELETE")
    async def cancel(self, order: UUID) -> None:
        del self.book[self._find(order).id]

    def _find(self, order):
        if order not in self.book:
            raise HTTPError(404, "There is no such order.")
        return self.book[order]

    async def _error_page(self, status, detail):
        """Errors are JSON as well, those that MicroPie finds included."""
        return {"status": status, "error": detail or HTTPStatus(status).phrase}


app = Bakery()
