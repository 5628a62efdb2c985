"""The command: every section for a moment, which says nothing about speed and all about whether it works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scenarios import GROWTH, SCENARIOS
from tests.helpers import ROOT

SECTIONS = ("inproc", "server", "broadcast", "memory", "imports", "growth")


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the checkout, as tox does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run writes that is as short as can be."""
    folder = tmp_path_factory.mktemp("results") / "new"
    done = benchmarks("--quick", "--rounds", "1", "--frameworks", "micropie", "--output", str(folder))
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    return folder


def read(folder: Path, section: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{section}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_says_what_was_measured_and_how(written: Path, section: str) -> None:
    found = read(written, section)
    assert found["section"] == section
    assert found["versions"].keys() >= {"micropie", "uvicorn", "uvloop"}
    assert found["rounds"] == 1
    assert len(found["load_average"]) == 2
    rows = found["rows"] if "rows" in found else found["growth"]["routes"]["rows"]
    for row in rows.values():
        assert row.keys() == {"raw", "micropie"}
        assert all(entry["cost"]["median"] > 0 for entry in row.values())
        assert all(entry["cost"]["count"] >= 1 for entry in row.values())


def test_every_scenario_is_measured(written: Path) -> None:
    assert read(written, "inproc")["rows"].keys() == SCENARIOS.keys()
    assert read(written, "growth")["growth"].keys() == GROWTH.keys()


def test_what_is_written_can_be_shown(written: Path) -> None:
    done = benchmarks("--show", str(written), "--only", "memory", "growth")
    assert done.returncode == 0, done.stderr
    allocated = read(written, "memory")["rows"]["allocated"]["micropie"]["over"]["median"]
    assert f"{allocated:,.0f}" in done.stdout
    assert "routes: µs" in done.stdout


def test_another_package_runs_beside_this_one(tmp_path: Path) -> None:
    (tmp_path / "micropie.py").write_text("raise SystemExit('this is the other one')\n", encoding="utf-8")
    done = benchmarks("--only", "inproc", "--package", f"other={tmp_path}", "--frameworks", "other")
    assert done.returncode == 1
    assert "this is the other one" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frameworks", "nonsense"], "no such framework: nonsense"),
        (["--package", "new=no/such/place"], "no such directory: no/such/place"),
        (["--package", "no/such/place"], "give LABEL=DIR"),
        (["--only", "nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_a_mistake_on_the_command_line_is_said(arguments: list[str], words: str) -> None:
    done = benchmarks(*arguments)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
