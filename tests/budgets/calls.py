"""What an operation costs without a clock: how many calls MicroPie makes for it, of its own functions and of others'.

The figures are the same on every machine, so that CI can hold each path to a budget. They depend on the Python: the
budgets are those of 3.11. ``python -m tests.budgets.calls`` shows them, with ``--write`` it writes them anew.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import repeat
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias
from unittest.mock import patch

import micropie
import micropie.websocket.wire
from benchmarks.apps import micropie as apps
from benchmarks.processes.driver import RUNNERS, log_in
from benchmarks.scenarios import SCENARIOS, Scenario

PYTHON = (3, 11)
BUDGETS = Path(__file__).with_name("budgets.json")
WARM_UP, MORE = 20, 10  # Operations before those that are counted, and those.

#: Calls of Python functions, and of builtins, for one operation.
Calls: TypeAlias = dict[str, int]

_PACKAGE = str(Path(micropie.__file__).parent)


def count(scenario: Scenario) -> Calls:
    """The calls for one operation: what some more of them add, so that what surrounds them does not count.

    Raises:
        RuntimeError: If the operations do not all cost the same.
    """
    few, many = _total(scenario, WARM_UP), _total(scenario, WARM_UP + MORE)
    calls = {kind: (many[kind] - few[kind]) / MORE for kind in many}
    if any(value != int(value) for value in calls.values()):
        raise RuntimeError(f"{scenario.name}: {MORE} operations cost {many} - {few} calls")
    return {kind: int(value) for kind, value in calls.items()}


def _total(scenario: Scenario, operations: int) -> Calls:
    total = {"python": 0, "builtin": 0}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(_PACKAGE):
            total["python" if event == "call" else "builtin"] += 1

    async def operate() -> None:
        app = getattr(apps, scenario.app)
        wanted = await log_in(app, scenario)
        await RUNNERS[scenario.kind](app, wanted, WARM_UP)
        sys.setprofile(note)
        try:
            await RUNNERS[scenario.kind](app, wanted, operations)
        finally:
            sys.setprofile(None)

    # One send in 128 also gives the others a turn, which no operation is to answer for.
    with patch.object(micropie.websocket.wire, "_TURNS", repeat(False)):
        asyncio.run(operate())
    return total


def budgets() -> dict[str, Calls]:
    """The budget of each scenario."""
    recorded: dict[str, Calls] = json.loads(BUDGETS.read_text("utf-8"))
    return recorded


def main() -> int:
    if sys.version_info[:2] != PYTHON:
        print(f"the budgets are those of Python {PYTHON[0]}.{PYTHON[1]}", file=sys.stderr)
        return 1
    counted = {name: count(scenario) for name, scenario in SCENARIOS.items()}
    recorded = budgets() if BUDGETS.exists() else {}
    print(f"{'':15} {'calls of its own':>16} {'of builtins':>12}   budget")
    for name, calls in counted.items():
        budget = recorded.get(name, {})
        print(
            f"{name:15} {calls['python']:16} {calls['builtin']:12}   {budget.get('python')}, {budget.get('builtin')}"
        )
    if "--write" in sys.argv[1:]:
        BUDGETS.write_text(json.dumps(counted, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
