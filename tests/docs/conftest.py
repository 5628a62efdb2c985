"""The site that the tests look at."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import yaml

from tests.helpers import ROOT
from tests.running import once

CONFIG = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
BASE = "https://docs.example/en/latest/"
LEFT_BY_TOOLS = (".git", ".tox", ".venv", "_build", "__pycache__", ".*_cache", ".hypothesis")


def build(folder: Path) -> None:
    """Build the site into ``output/html`` of the folder, by Read the Docs' commands, in a copy of the checkout."""
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*LEFT_BY_TOOLS))
    venv.create(folder / "python", with_pip=True)
    # Nothing of the tox that runs this test may reach the tox that the commands start.
    ours = re.compile(r"TOX_|COVERAGE_|PYTEST_|PYTHON(SAFE)?PATH|VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
    environment["PATH"] = os.pathsep.join([str(folder / "python" / "bin"), environment["PATH"]])
    environment["READTHEDOCS"] = "True"
    environment["READTHEDOCS_CANONICAL_URL"] = BASE
    environment["READTHEDOCS_OUTPUT"] = str(folder / "output")
    for command in CONFIG["build"]["commands"]:
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as Read the Docs builds it, which says where it will be."""
    return once(tmp_path_factory, "readthedocs", build) / "output" / "html"
