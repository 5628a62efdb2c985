"""The one extractor of the documentation's code blocks.

What the reader copies is what CI runs. A page is read from top to bottom, like a script that works in a folder:

- a ``code-block`` with a ``:caption:`` is a whole file, written to that folder; the same caption again
  overwrites it;
- a ``literalinclude`` is a whole file too, under its caption or its own file name;
- a ``console`` block holds ``$ command`` lines, and a command that starts a server is a :class:`Run`: the folder
  as it stands at that line, and the command as the reader sees it (after ``cd`` it may be a folder of the
  checkout, which needs no block); so is ``$ pytest``, which runs the ``test_*.py`` files of the folder;
- any other ``python`` block stands alone: it parses and has no undefined or unused name;
- a true fragment is preceded by the comment ``.. fragment: reason``;
- the comment ``.. continues: PAGE`` at the top says that the reader goes on in the folder that another page left.

``python -m tools.blocks check`` holds every page to that, and ``python -m tools.blocks extract DIR`` writes the
files for ruff and mypy. Sphinx is not loaded: blocks are found by Sybil's lexer.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pyflakes.checker import Checker
from sybil import Document, Region
from sybil.parsers.rest.lexers import DirectiveLexer

DOCS = Path(__file__).parents[1] / "docs"

PYTHON = {"python", "python3", "py", "py3"}
SHELL = {"bash", "sh", "shell"}
SERVERS = {"uvicorn", "hypercorn", "granian", "daphne"}
# What an include may say: nothing of it changes the text that the reader copies.
INCLUDE_OPTIONS = {"caption", "class", "emphasize-lines", "language", "linenos", "name"}

_NAMES = r"(?:code-block|sourcecode|code|literalinclude)"
_DIRECTIVES = DirectiveLexer(_NAMES)
_COMMENT = r"^([ \t]*)\.\. fragment:(?P<reason>[^\n]*(?:\n\1[ \t]+\S[^\n]*)*)\n\s*"
_FRAGMENT = re.compile(_COMMENT + r"\Z", re.MULTILINE)
_LOOSE = re.compile(rf"(?!{_COMMENT}\.\. {_NAMES}::)^[ \t]*\.\. fragment\b", re.MULTILINE)
_CONTINUES = re.compile(r"^\.\. continues: (?P<page>\S+)$", re.MULTILINE)
_TARGET = re.compile(r"(?P<module>[A-Za-z_][\w.]*):[A-Za-z_]\w*")


class Problem(Exception):
    """A place where a page breaks the contract; its text is ``file:line: message``."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{_shown(path)}:{line}: {message}")
        self.path = path
        self.line = line
        self.message = message


@dataclass(frozen=True)
class Block:
    """One code block or included file of a page.

    ``line`` is the directive's line on the page. ``source`` begins at line ``start`` of the file ``origin``,
    which is the page itself unless the block is an include. ``caption`` of an include without one is its file name.
    """

    page: Path
    line: int
    language: str
    caption: str | None
    name: str | None
    source: str
    fragment: str | None
    origin: Path
    start: int

    @property
    def is_file(self) -> bool:
        """Whether the block is a whole file of the page's folder."""
        return self.caption is not None and self.language != "console" and self.fragment is None

    @property
    def commands(self) -> list[tuple[int, str]]:
        """The commands of a console block with their line numbers.

        A command follows ``$`` or ``&&``, and a line that ends in a backslash goes on.
        """
        if self.language != "console" or self.fragment is not None:
            return []
        found: list[tuple[int, str]] = []
        goes_on = False
        for line, text in enumerate(self.source.splitlines(), self.start):
            words = text.removesuffix("\\").strip()
            if goes_on:
                found[-1] = (found[-1][0], f"{found[-1][1]} {words}")
            elif text.startswith("$ "):
                found.append((line, words.removeprefix("$ ")))
            goes_on = text.endswith("\\") and (goes_on or text.startswith("$ "))
        return [(line, command) for line, commands in found for command in commands.split(" && ")]


def transcript(block: Block) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the commands of a block, each with its line number and the lines that the page shows below it."""
    lines, commands = block.source.splitlines(), block.commands
    ends = [*(line - block.start for line, _ in commands[1:]), len(lines)]
    for (line, command), end in zip(commands, ends, strict=False):
        yield line, command, lines[line - block.start + 1 : end]


@dataclass(frozen=True)
class Run:
    """One server or pytest command of a page, with the folder as it stands at that line."""

    page: Path
    line: int
    command: str
    files: dict[str, str]
    names: frozenset[str]

    def write(self, directory: Path) -> None:
        """Write the files below ``directory``, which is made if it is missing."""
        _write(self.files, directory)


def pages(docs_root: Path = DOCS) -> list[Path]:
    """Return the pages below ``docs_root``, sorted; folders such as ``_build`` are left out."""
    found = docs_root.rglob("*.rst")
    return sorted(
        page for page in found if not any(part.startswith("_") for part in page.relative_to(docs_root).parts)
    )


def blocks(page: Path) -> list[Block]:
    """Return the blocks of ``page`` in reading order, or raise its first :class:`Problem`."""
    found = []
    for block in _read(page):
        if isinstance(block, Problem):
            raise block
        found.append(block)
    return found


def runs(page: Path) -> list[Run]:
    """Return the server commands of ``page`` in reading order, each with its folder."""
    return [run for run in _all_runs(page) if _serves(run.command)]


def pytest_runs(page: Path) -> list[Run]:
    """Return the ``pytest`` commands of ``page`` in reading order, each with its folder."""
    return [run for run in _all_runs(page) if _tests(run.command)]


def _all_runs(page: Path) -> list[Run]:
    return [
        Run(
            page,
            line,
            command,
            _sources(folder),
            frozenset(block.name for block in folder.values() if block.name),
        )
        for block, folder in _script(blocks(page), _before(page))
        for line, command in block.commands
        if _tests(command) or (_serves(command) and _shows(folder, command))
    ]


def find_run(page: Path, name: str) -> Run:
    """Return the first run whose folder holds the block with ``:name: name``, or raise ``LookupError``."""
    found = runs(page)
    for run in found:
        if name in run.names:
            return run
    known = ", ".join(sorted(frozenset().union(*(run.names for run in found)))) or "none"
    raise LookupError(
        f"{_shown(page)}: no server command runs a block named {name!r}; blocks that run: {known}"
    )


def check(page: Path) -> list[Problem]:
    """Return everything on ``page`` that breaks the contract."""
    found = list(_read(page))
    problems = [item for item in found if isinstance(item, Problem)]
    good = [item for item in found if isinstance(item, Block)]
    problems += _loose_comments(page)
    try:
        begun = _before(page)
    except Problem as problem:
        problems.append(problem)
        begun = {}
    for block, folder in _script(good, begun):
        problems += _check_block(block)
        problems += _check_commands(block, folder)
    return sorted(problems, key=lambda problem: (problem.path != page, problem.path, problem.line))


def folders(page: Path) -> dict[int, dict[str, str]]:
    """Return the folders that ``page`` makes, each by the line of its newest block.

    They are the folder as each server or pytest command sees it, as it stands before a file is overwritten and as it is
    left at the end, and one folder for each Python block that stands alone.
    """
    found: dict[int, dict[str, str]] = {}
    before = _before(page)
    for block, folder in _script(blocks(page), before):
        if block.is_file and block.caption in before:
            _keep(found, before, page)
        if any(_serves(command) or _tests(command) for _, command in block.commands):
            _keep(found, folder, page)
        if block.language in PYTHON and not block.is_file and block.fragment is None:
            found[block.line] = {"block.py": block.source}
        before = folder
    _keep(found, before, page)
    return found


def extract(directory: Path, docs_root: Path = DOCS) -> None:
    """Write every folder of every page below ``directory``, at ``PAGE/line_N``."""
    for page in pages(docs_root):
        place = directory / page.relative_to(docs_root).with_suffix("")
        for line, files in folders(page).items():
            _write(files, place / f"line_{line}")


# Reading a page


def _read(page: Path) -> Iterator[Block | Problem]:
    # The lexer wants a line end after a directive, the last one of a file too.
    document = Document(page.read_text(encoding="utf-8") + "\n", str(page))
    end = 0
    for region in _DIRECTIVES(document):
        if region.start < end:
            continue  # A directive inside a block is the block's text, as on a page about writing pages.
        end = region.end
        try:
            yield _block(page, document.text, region)
        except Problem as problem:
            yield problem


def _block(page: Path, text: str, region: Region) -> Block:
    line = text.count("\n", 0, region.start) + 1
    fragment = _fragment(text[: region.start])
    options = {name: value.strip() for name, value in region.lexemes["options"].items()}
    argument = (region.lexemes["arguments"] or "").strip()
    caption = options.get("caption")
    if region.lexemes["directive"] == "literalinclude":
        origin, start = _included(page, line, argument, options), 1
        source = origin.read_text(encoding="utf-8")
        language = options.get("language") or {"py": "python"}.get(origin.suffix[1:], origin.suffix[1:])
        caption = caption or origin.name
    else:
        origin, start = page, line + region.lexemes["source"].line_offset + 1
        source = region.lexemes["source"].rstrip() + "\n"
        language = argument
    block = Block(page, line, language, caption, options.get("name"), source, fragment, origin, start)
    if block.is_file:
        _check_caption(block)
    return block


def _fragment(before: str) -> str | None:
    """Return the reason of the fragment comment that ends ``before``, if there is one."""
    comment = _FRAGMENT.search(before)
    return comment and " ".join(comment["reason"].split())


def _included(page: Path, line: int, argument: str, options: dict[str, str]) -> Path:
    """Return the path of an included file; a leading slash means the documentation's root."""
    refused = sorted(options.keys() - INCLUDE_OPTIONS)
    if refused:
        names = ", ".join(f":{name}:" for name in refused)
        raise Problem(
            page, line, f"{names}: an include shows a whole file, as it is; the reader copies all of it"
        )
    path = _root(page) / argument.lstrip("/") if argument.startswith("/") else page.parent / argument
    if not path.is_file():
        raise Problem(page, line, f"included file not found: {argument or '(no name)'}")
    return path.resolve()


def _root(page: Path) -> Path:
    """Return the folder of Sphinx's ``conf.py`` above ``page``, or the page's own."""
    return next((folder for folder in page.parents if (folder / "conf.py").is_file()), page.parent)


def _before(page: Path) -> dict[str, Block]:
    """Return the folder in which the page's reader begins: empty, or as the page left it that this one continues."""
    continued = _CONTINUES.search(page.read_text(encoding="utf-8"))
    if continued is None:
        return {}
    former = page.with_name(f"{continued['page']}.rst")
    if not former.is_file():
        line = page.read_text(encoding="utf-8").count("\n", 0, continued.start()) + 1
        raise Problem(page, line, f"there is no page {former.name} to continue")
    own = {block.caption: block for block in blocks(former) if block.is_file and block.caption is not None}
    return _before(former) | own


def _script(found: list[Block], folder: dict[str, Block]) -> Iterator[tuple[Block, dict[str, Block]]]:
    """Read blocks as a script that begins with ``folder``: each one with the folder as it stands after it."""
    for block in found:
        if block.is_file and block.caption is not None:
            folder = folder | {block.caption: block}
        yield block, folder


def _serves(command: str) -> bool:
    """Whether a command starts a server, alone or as ``python -m``, with or without variables before it."""
    return program(command) in SERVERS


def _tests(command: str) -> bool:
    """Whether a command runs pytest."""
    return program(command) == "pytest"


def program(command: str) -> str:
    """Return the program that a command runs, without ``python -m`` and variables before it; empty if there is none."""
    words = command.split()
    while words and re.match(r"\w+=", words[0]):
        del words[0]
    if words[:2] in (["python", "-m"], ["python3", "-m"]):
        del words[:2]
    return words[0] if words else ""


def _app_paths(command: str) -> list[str]:
    """Return the files that may hold the ``MODULE:APP`` of a server command."""
    target = next(filter(None, map(_TARGET.fullmatch, command.split())), None)
    if target is None:
        return []
    path = target["module"].replace(".", "/")
    return [f"{path}.py", f"{path}/__init__.py"]


def _shows(folder: dict[str, Block], command: str) -> bool:
    """Whether the page shows the app that ``command`` runs."""
    return any(path in folder for path in _app_paths(command))


# Checking


def _check_caption(block: Block) -> None:
    path = PurePosixPath(block.caption or "")
    if path.is_absolute() or not path.name or ".." in path.parts or " " in path.name:
        raise Problem(
            block.page, block.line, f"a caption is the name of a file in the page's folder: {block.caption!r}"
        )


def _check_block(block: Block) -> list[Problem]:
    if block.fragment == "":
        return [
            Problem(
                block.page, block.line, "a fragment needs a reason: '.. fragment: why it cannot stand alone'"
            )
        ]
    if block.fragment is not None and block.caption is not None:
        return [Problem(block.page, block.line, "a fragment has no caption: a caption names a whole file")]
    if block.fragment is not None:
        return []
    if block.language in PYTHON:
        return _check_names(block)
    if not block.language:
        return [Problem(block.page, block.line, "name the block's language, for example 'python' or 'text'")]
    if block.language in SHELL and not block.is_file:
        return [Problem(block.page, block.line, "commands go into a 'console' block, each after '$ '")]
    if block.language == "console" and not block.commands:
        return [
            Problem(block.page, block.line, "a 'console' block has no command: a line that starts with '$ '")
        ]
    return []


def _check_names(block: Block) -> list[Problem]:
    """Parse a Python block and look for undefined and unused names."""
    try:
        tree = ast.parse(block.source)
    except SyntaxError as error:
        return [Problem(block.origin, block.start + (error.lineno or 1) - 1, f"syntax error: {error.msg}")]
    messages = Checker(tree, str(block.origin)).messages
    return [
        Problem(block.origin, block.start + found.lineno - 1, found.message % found.message_args)
        for found in sorted(messages, key=lambda found: found.lineno)
    ]


def _check_commands(block: Block, folder: dict[str, Block]) -> list[Problem]:
    """Look for commands whose app or tests are neither on the page nor in a folder of the checkout."""
    problems, place = [], None
    for line, command in block.commands:
        if command.startswith("cd "):
            place = _root(block.page).parent / command.removeprefix("cd ")
        elif _serves(command) and not _shows(folder, command):
            paths = _app_paths(command)
            if place is None or not any((place / path).is_file() for path in paths):
                where = "block above it" if place is None else f"block above it, and none in {place.name},"
                what = f"is the file {paths[0]}" if paths else "can be found: it names no MODULE:APP"
                problems.append(Problem(block.page, line, f"no {where} {what} that this command runs"))
        elif _tests(command) and not any(re.fullmatch(r"(.*/)?test_\w+\.py", name) for name in folder):
            what = "no block above it is a test file, test_NAME.py, for this command"
            problems.append(Problem(block.page, line, what))
    return problems


def _loose_comments(page: Path) -> list[Problem]:
    """Look for fragment comments that no block follows: a slip of the pen would mislead the next writer."""
    text = page.read_text(encoding="utf-8")
    return [
        Problem(
            page, text.count("\n", 0, match.start()) + 1, "'.. fragment: reason' comes right before its block"
        )
        for match in _LOOSE.finditer(text)
    ]


# Small helpers


def _keep(found: dict[int, dict[str, str]], folder: dict[str, Block], page: Path) -> None:
    lines = [block.line for block in folder.values() if block.page == page]
    if lines:  # Else the folder is one that another page has left.
        found[max(lines)] = _sources(folder)


def _sources(folder: dict[str, Block]) -> dict[str, str]:
    return {caption: block.source for caption, block in folder.items()}


def _write(files: dict[str, str], directory: Path) -> None:
    for name, source in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


def _shown(path: Path) -> Path:
    """Return ``path`` as a person at the shell would write it."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the result is the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.blocks", description="The documentation's code blocks."
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="the documentation's folder")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="hold every page to the contract")
    commands.add_parser("extract", help="write the blocks as files").add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "extract":
        extract(options.directory, options.docs)
        return 0
    problems = [problem for page in pages(options.docs) for problem in check(page)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
