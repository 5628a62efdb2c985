"""The Read the Docs configuration is valid, and its commands build the site."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.conftest import CONFIG


def test_the_configuration_follows_the_schema() -> None:
    """Version 2 asks for these keys; with `build.commands`, keys such as `sphinx` would have no effect."""
    assert CONFIG.keys() == {"version", "build"}
    assert CONFIG["version"] == 2
    assert CONFIG["build"].keys() == {"os", "tools", "commands"}
    assert CONFIG["build"]["os"] in {"ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04", "ubuntu-lts-latest"}
    assert CONFIG["build"]["tools"].keys() == {"python"}
    python = CONFIG["build"]["tools"]["python"]
    assert isinstance(python, str), "without quotes YAML reads 3.10 as the number 3.1"
    assert re.fullmatch(r"3\.1[1-4]", python)
    assert all(isinstance(command, str) for command in CONFIG["build"]["commands"])


def test_it_runs_the_environment_that_ci_runs() -> None:
    assert "python -m tox -e docs" in CONFIG["build"]["commands"]


def test_its_commands_build_the_site(site: Path) -> None:
    """test_site.py looks at what is in it."""
    assert (site / "index.html").is_file()
    assert (site / "tutorial" / "websockets.html").is_file()
