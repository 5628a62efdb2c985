"""The tests of sessions can fail: whoever breaks the code in one of these ways hears of it.

Each way is applied to a copy of the package.  ``killers.json`` remembers a test that fails over it, and that one is run
first.  If it passes, or is no more, the suites are run until the first test fails, and the end of the run says that
``--write-killers`` has something to write.
"""

from __future__ import annotations

import pytest

from tests.mutants.mutants import MUTANTS, Mutant
from tests.mutants.runs import Runs


@pytest.mark.parametrize("mutant", [None])
def test_nothing_fails_where_nothing_is_broken(runs: Runs, mutant: None) -> None:
    run = runs.result(mutant)
    assert run.status == pytest.ExitCode.OK, run.output


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_caught(runs: Runs, mutant: Mutant) -> None:
    run = runs.result(mutant)
    assert run.status == pytest.ExitCode.TESTS_FAILED, run.output
    assert run.failed.startswith("tests/"), run.output
