"""What the documentation has, in figures: ``python -m tools.count`` prints them.

A command counts as executed if a test enters it as its reader does: :func:`runner` says which one.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

from tools.blocks import DOCS, PYTHON, SERVERS, Block, blocks, pages, program

# What is no text of a reader's: the line of a directive, a comment, a target or an option; a role and where it leads.
_MARKUP = re.compile(r"^\s*(\.\. |:[\w-]+:( |$)).*|:[\w:]+:(?=`)|<[^<>`]+>(?=`)")


class Figures(NamedTuple):
    """What some pages have."""

    pages: int = 0
    words: int = 0
    blocks: int = 0
    files: int = 0
    alone: int = 0
    fragments: int = 0
    commands: int = 0
    executed: int = 0


def figures(page: Path) -> Figures:
    """What one page has."""
    found = blocks(page)
    commands = [command for block in found for _, command in block.commands]
    return Figures(
        pages=1,
        words=words(page, found),
        blocks=len(found),
        files=sum(block.is_file for block in found),
        alone=sum(is_alone(block) for block in found),
        fragments=sum(block.fragment is not None for block in found),
        commands=len(commands),
        executed=sum(runner(page, command) is not None for command in commands),
    )


def is_alone(block: Block) -> bool:
    """Whether a block is Python that stands alone."""
    return block.language in PYTHON and not block.is_file and block.fragment is None


def words(page: Path, found: list[Block]) -> int:
    """The words of a page's text, without its blocks and without markup."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for block in found:
        length = len(block.source.splitlines()) if block.origin == page else 0
        start = block.start if block.origin == page else block.line + 1
        for number in range(block.line - 1, start - 1 + length):
            lines[number] = ""
    text = "\n".join(_MARKUP.sub("", line) for line in lines)
    return len(re.findall(r"\w+(?:['.-]\w+)*", text))


# The test that enters what a program's command says, outside of the tutorial.
_RUNNERS = {
    **dict.fromkeys([*SERVERS, "pytest"], "tests/docs/test_runs.py"),
    "cd my-echo": "tests/docs/test_command_line.py",
    "curl": "tests/docs/test_commands.py",
    "micropie": "tests/docs/test_command_line.py",
    "python announce.py": "tests/docs/test_socketio.py",
    "systemd-analyze": "tests/docs/test_deployment.py",
}


def runner(page: Path, command: str) -> str | None:
    """The test that enters a command of a page; None if none does."""
    if page.parent.name == "tutorial":
        return "tests/e2e/test_reader.py"
    return _RUNNERS.get(program(command)) or _RUNNERS.get(" ".join(command.split()[:2]))


def total(docs_root: Path = DOCS) -> Figures:
    """What all pages have together."""
    return Figures(*map(sum, zip(*map(figures, pages(docs_root)), strict=True)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the result is the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.count", description="The documentation in figures."
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="the documentation's folder")
    found = total(parser.parse_args(arguments).docs)
    console = found.blocks - found.files - found.alone - found.fragments
    print(f"pages      {found.pages:,}")
    print(f"words      {found.words:,}, without blocks")
    print(
        f"blocks     {found.blocks:,}: {found.files:,} files, {found.alone:,} of Python that stand alone, "
        f"{console:,} of commands and output"
    )
    print(f"fragments  {found.fragments:,}")
    print(f"commands   {found.commands:,}, of which tests enter {found.executed:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
