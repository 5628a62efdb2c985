"""The tests of sessions can fail: whoever breaks the code in one of these ways hears of it.

Each way is applied to a copy of the package, and the suites are run over it until the first test fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import micropie
from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
#: Those that are quick, and fail for most, come first.
SUITES = [
    f"tests/test_{name}.py"
    for name in ("sessions", "session_use", "requests", "mounts", "session_races", "bodies", "design")
]

#: Runs the suites over the package in a folder. A history that fails need not be shrunk.
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import pytest

class Unshrunk:
    def pytest_configure(self):
        import micropie
        from hypothesis import Phase, settings
        assert micropie.__file__.startswith(sys.argv[1])
        settings.register_profile("unshrunk", phases=[Phase.generate], report_multiple_bugs=False)
        settings.load_profile("unshrunk")

sys.exit(pytest.main(["-x", "-p", "no:cacheprovider", *sys.argv[2:]], [Unshrunk()]))
"""


@dataclass
class Runs:
    """What comes of the suites over the package, broken or not; as many run at once as there are processors."""

    folder: Path
    pool: ThreadPoolExecutor
    under_way: dict[Mutant | None, Future[tuple[int, str]]]

    def begin(self, mutant: Mutant | None) -> None:
        self.under_way[mutant] = self.pool.submit(self._run, f"package_{len(self.under_way)}", mutant)

    def _run(self, name: str, mutant: Mutant | None) -> tuple[int, str]:
        package = self.folder / name / "micropie"
        shutil.copytree(Path(micropie.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            mutant.apply(package)
        command = [sys.executable, "-c", RUN, str(package.parent), *SUITES]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.returncode, done.stdout

    def result(self, mutant: Mutant | None) -> tuple[int, str]:
        return self.under_way[mutant].result()


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The suites over all that the tests of this session ask for."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = Runs(tmp_path_factory.mktemp("mutants"), pool, {})
        for item in request.session.items:
            if "mutant" in getattr(item, "callspec", SimpleNamespace(params=())).params:
                runs.begin(item.callspec.params["mutant"])
        yield runs
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("mutant", [None])
def test_nothing_fails_where_nothing_is_broken(runs: Runs, mutant: None) -> None:
    status, output = runs.result(mutant)
    assert status == pytest.ExitCode.OK, output


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_caught(runs: Runs, mutant: Mutant) -> None:
    status, output = runs.result(mutant)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "FAILED tests/test_" in output, output
