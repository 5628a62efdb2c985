"""Commands of the pages that are neither a server nor pytest: entered while the page's server runs, as its reader does.

The tutorial's are entered by tests/e2e/test_reader.py, with all else that it asks for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import serve
from tools.blocks import DOCS, Run, blocks, pages, runs, transcript
from tools.count import Figures, figures, main, runner, total

ADDRESS = "127.0.0.1:8000"  # What the pages say.

# What no test enters, but for the packages that `pip install` adds.
NOT_ENTERED = {
    # The gallery, as the README has it: tests/e2e/test_gallery.py starts it without tox.
    "python3 -m venv .venv",
    ".venv/bin/pip install tox",
    ".venv/bin/tox -e gallery",
    # Where an example stands: tests/docs/test_examples.py runs each in its folder.
    "cd docs/examples/echo",
    # These want Docker, or to be root: tests/docs/test_deployment.py does what they do without.
    "docker build --tag shop .",
    "docker run --rm --publish 127.0.0.1:8000:8000 shop",
    "sudo systemctl enable --now shop.socket shop.service",
    "sudo systemctl reload shop.service",
    "sudo systemctl restart shop.service",
}


def entered(page: Path) -> Iterator[tuple[Run, int, str, list[str]]]:
    """Yield what this module enters on a page, each with the server that the page has started before."""
    servers = runs(page)
    for block in blocks(page):
        for line, command, shown in transcript(block):
            if runner(page, command) == "tests/docs/test_commands.py":
                [*_, server] = [run for run in servers if run.line < line]
                yield server, line, command, shown


COMMANDS = {
    f"{page.relative_to(DOCS).with_suffix('')}:{line}": (server, command, shown)
    for page in pages()
    for server, line, command, shown in entered(page)
}


@pytest.mark.parametrize(("server", "command", "shown"), COMMANDS.values(), ids=COMMANDS.keys())
def test_it_shows_what_the_page_shows(server: Run, command: str, shown: list[str], tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("There is no curl.")
    server.write(tmp_path)
    with serve(tmp_path, server.command) as running:
        done = subprocess.run(
            ["bash", "-euc", command.replace(ADDRESS, f"127.0.0.1:{running.port}")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    expected = " ".join(shown).split()
    assert not expected or done.stdout.split() == expected


def test_what_no_test_enters_is_known() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    lines = [line for line in groups["pages"] + groups["servers"] if isinstance(line, str)]
    packages = {re.split(r"[<>=]", line)[0] for line in lines}
    found = {
        command
        for page in pages()
        for block in blocks(page)
        for _, command in block.commands
        if runner(page, command) is None
    }
    installs = {command for command in found if command.startswith("pip install ")}
    assert {name for command in installs for name in command.split()[2:]} <= packages
    assert found - installs == NOT_ENTERED


# The figures


PAGE = """\
A page
======

Five words, of a :class:`~micropie.App` text's end.

.. code-block:: python
   :caption: app.py

   app = None

.. code-block:: console

   $ uvicorn app:app
   $ cp a b

.. code-block:: python

   import json

   json.dumps([])

.. fragment: it has no end

.. code-block:: python

   def begin():
"""


def test_the_figures_of_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.rst"
    page.write_text(PAGE, encoding="utf-8")
    assert figures(page) == Figures(
        pages=1, words=9, blocks=4, files=1, alone=1, fragments=1, commands=2, executed=1
    )
    assert main(["--docs", str(tmp_path)]) == 0
    assert "commands   2, of which tests enter 1" in capsys.readouterr().out


def test_the_figures_of_all_pages_are_their_sum() -> None:
    found = total()
    assert found.pages == len(pages())
    assert found.files + found.alone + found.fragments <= found.blocks
    assert found.executed <= found.commands
