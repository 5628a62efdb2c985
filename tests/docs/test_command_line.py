"""The page about the command line: its commands, entered in their order in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.running import running
from tools.blocks import DOCS, blocks

PAGE = DOCS / "howto" / "command-line.rst"
MICROPIE = "python -m micropie "


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    folder, done = tmp_path, []
    for block in blocks(PAGE):
        lines = block.source.splitlines()
        for number, command in block.commands:
            shown = lines[number - block.start + 1 :]
            if command.startswith("cd "):
                folder /= command.removeprefix("cd ")
            elif command.startswith(f"{MICROPIE}run "):
                serve_once(command.removeprefix(f"{MICROPIE}run ").split(), folder)
            else:
                output = enter(command, folder)
                assert not shown or shown[0].startswith("$ ") or output.splitlines() == shown
            done.append(command.removeprefix(MICROPIE).split()[0])
    assert done == ["examples", "examples", "cd", "run", "run", "run", "routes", "--version"]


def enter(command: str, folder: Path) -> str:
    assert command.startswith(MICROPIE)
    done = subprocess.run(
        [sys.executable, *command.split()[1:]],
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def serve_once(words: list[str], folder: Path) -> None:
    """Only the port is another than on the page."""
    if "--port" in words:
        del words[words.index("--port") : words.index("--port") + 2]
    with running(*words, "--port", "0", folder=folder) as process:
        url = process.serving()
        assert "<title>Echo</title>" in httpx.get(url).text
        assert process.stop() == 0
