"""The runs of a session, and what is remembered of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.mutants.runs import Runs

KILLERS = Path(__file__).with_name("killers.json")
STALE = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-killers",
        action="store_true",
        help="write into killers.json which test catches each mutant that was asked for",
    )


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The suites over all that the tests of this session ask for."""
    remembered = json.loads(KILLERS.read_text("utf-8"))
    with Runs(tmp_path_factory.mktemp("mutants"), remembered) as runs:
        for item in request.session.items:
            if "mutant" in getattr(item, "callspec", SimpleNamespace(params=())).params:
                runs.begin(item.callspec.id, item.callspec.params["mutant"])
        yield runs
    request.config.stash[STALE] = [
        name for name, killer in runs.killers.items() if remembered.get(name) != killer
    ]
    if request.config.getoption("write_killers"):
        known = dict(sorted({**remembered, **runs.killers}.items()))
        KILLERS.write_text(json.dumps(known, ensure_ascii=False, indent=1) + "\n", "utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell which mutants took long since nobody remembered the right test."""
    stale = config.stash.get(STALE, [])
    if stale and not config.getoption("write_killers"):
        terminalreporter.section("killers.json is out of date")
        terminalreporter.line("pytest tests/mutants --write-killers writes the test that catches now:")
        for name in stale:
            terminalreporter.line(f"  {name}")
