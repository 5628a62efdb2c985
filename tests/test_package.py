"""What a user gets: the wheel, alone in a fresh environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import hatchling.build
import pytest

import micropie
from micropie.cli.examples import files
from tests.helpers import ROOT
from tools.examples import examples

LARGEST_WHEEL = 400_000  # Bytes.


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that tox built and installed for these tests, or one built here."""
    if built := os.environ.get("TOX_PACKAGE"):
        return Path(built)
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / hatchling.build.build_wheel(str(folder))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The interpreter of a fresh environment in which the wheel was installed, without a network."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", str(wheel))
    return python


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(command[0]).parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installing_brings_no_other_package(python: Path) -> None:
    listed = run(python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    names = {package["name"] for package in json.loads(listed)}
    assert names - {"pip", "setuptools"} == {"micropie"}


def test_every_public_name_is_there_without_any_extra(python: Path) -> None:
    names = json.loads(run(python, "-I", "-W", "error", "-c", IMPORT_ALL))
    assert names == sorted(micropie.__all__)


IMPORT_ALL = "import json, micropie; from micropie import *; print(json.dumps(sorted(micropie.__all__)))"


def test_the_wheel_holds_the_package_its_types_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names}
    assert packages == {"micropie", f"micropie-{micropie.__version__}.dist-info"}
    assert "micropie/py.typed" in names
    assert f"micropie-{micropie.__version__}.dist-info/licenses/LICENSE" in names


def test_the_wheel_has_the_examples_as_they_are_copied(wheel: Path) -> None:
    """Whole, but without the pages, the pictures and what Python leaves."""
    with zipfile.ZipFile(wheel) as archive:
        there = {name: archive.read(name) for name in archive.namelist() if "/_examples/" in name}
    wanted = {
        f"micropie/_examples/{name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for name, folder in examples().items()
        for path in files(folder)
    }
    assert there == wanted
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_installed_command_line_lists_and_copies_them(python: Path, tmp_path: Path) -> None:
    """Without any extra; it says which are missing."""
    listed = run(python, "-I", "-m", "micropie", "examples")
    assert [line.split()[0] for line in listed.splitlines()[: len(examples())]] == list(examples())
    copied = run(python, "-I", "-m", "micropie", "examples", "copy", "echo", str(tmp_path / "mine"))
    assert "This Python still needs, for it and its tests: micropie[forms,server,testing]." in copied
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        path.name for path in files(examples()["echo"])
    }


def test_the_version_is_stated_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    [stated] = re.findall(
        r'^__version__ = "(.+)"$', (ROOT / "micropie/__init__.py").read_text(), re.MULTILINE
    )
    assert stated == micropie.__version__ == version("micropie")


@pytest.mark.skipif(
    "TOX_PACKAGE" not in os.environ, reason="tox installs the wheel; here the checkout is imported"
)
def test_the_wheel_is_what_these_tests_import() -> None:
    assert not Path(micropie.__file__).is_relative_to(ROOT / "micropie")


def test_extras_are_the_documented_ones() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    single = {"templates", "forms", "json", "server", "socketio", "redis", "testing"}
    assert extras.keys() == single | {"standard", "all"}
    assert all(len(extras[name]) == 1 for name in extras if name != "testing")
