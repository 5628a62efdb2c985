"""No path gets slower unnoticed: each operation makes just as many calls as its budget says."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from benchmarks.scenarios import SCENARIOS
from micropie import App
from tests.budgets import calls

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != calls.PYTHON, reason="the budgets are those of Python 3.11, which runs this test"
)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_operation_costs_what_its_budget_says(name: str) -> None:
    counted, budget = calls.count(SCENARIOS[name]), calls.budgets()[name]
    assert counted == budget, (
        f"{name} costs {counted} calls, its budget is {budget}: if that is meant, or better than before, "
        "python -m tests.budgets.calls --write"
    )


def test_a_call_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = SCENARIOS["http_text"]
    before = calls.count(scenario)

    async def index(self: App) -> str:
        logging.getLogger("test")  # a call of the handler's own, which is no part of the framework's
        return await find(self)

    async def find(self: App) -> str:
        self.request.query("x")
        return "Hello, World!"

    app: Any = type("Slower", (App,), {"index": index})()
    monkeypatch.setattr(calls.apps, "app", app)
    after = calls.count(scenario)
    assert after["python"] > before["python"]


def test_what_varies_is_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uneven(App):
        asked = 0

        async def index(self) -> str:
            self.asked += 1
            if self.asked % 7 == 0:
                self.request.query("x")
            return "Hello, World!"

    monkeypatch.setattr(calls.apps, "app", Uneven())
    with pytest.raises(RuntimeError, match="http_text: 10 operations cost"):
        calls.count(SCENARIOS["http_text"])
