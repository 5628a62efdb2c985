"""The contract of the pages: what the reader copies stands on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.blocks import blocks, check, folders, pages

PAGES = pages()
FRAGMENTS = 0  # Over all pages. Ten were allowed once; do not raise it.


def title(page: Path) -> str:
    return f"{page.parent.name}/{page.stem}"


def test_there_are_pages() -> None:
    assert {"tutorial/websockets", "docs/index", "echo/index"} <= set(map(title, PAGES))


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_the_contract_holds(page: Path) -> None:
    assert [str(problem) for problem in check(page)] == []


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_python_file_compiles(page: Path) -> None:
    for line, files in folders(page).items():
        for name, source in files.items():
            if name.endswith(".py"):
                compile(source, f"{page}:{line}:{name}", "exec", dont_inherit=True)


def test_there_are_no_fragments() -> None:
    fragments = [f"{title(page)}:{block.line}" for page in PAGES for block in blocks(page) if block.fragment]
    assert len(fragments) <= FRAGMENTS, fragments
