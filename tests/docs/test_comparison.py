"""The comparison of frameworks: what it says of MicroPie is so now, and of the others what a script has seen.

`tox -e comparison` asks the others, which are not installed here.
"""

from __future__ import annotations

import json
import re
import tomllib

from tests.comparison.observing import PARTS, PEERS, QUESTIONS, ROWS, SEEN, answers, dependencies
from tools.blocks import DOCS

TABLE = json.loads(SEEN.read_text(encoding="utf-8"))
PAGE = (DOCS / "explanation" / "comparison.rst").read_text(encoding="utf-8")


def test_micropie_does_what_the_page_says() -> None:
    assert answers("micropie") == TABLE["peers"]["micropie"]["seen"]
    assert dependencies("micropie") == TABLE["peers"]["micropie"]["dependencies"] == 0


def test_each_framework_has_an_answer_to_each_question() -> None:
    asked = [name for group in ROWS.values() for name in group]
    assert sorted(asked) == sorted(QUESTIONS)
    assert TABLE["peers"].keys() == PEERS.keys()
    for found in TABLE["peers"].values():
        assert found["seen"].keys() == QUESTIONS.keys()


def test_the_page_shows_every_group_once() -> None:
    assert re.findall(r"^\.\. peers-seen:: (\w+)$", PAGE, re.MULTILINE) == list(ROWS)
    assert all(row.keys() - {"title"} <= PEERS.keys() for row in PARTS.values())


def test_the_versions_are_those_that_are_asked() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    lines = [line for line in groups["peers"] + groups["comparison"] if isinstance(line, str)]
    pinned = dict(re.findall(r"^(\w+)(?:\[\w+\])?==([\d.]+)$", "\n".join(lines), re.MULTILINE))
    seen = {name: number for found in TABLE["peers"].values() for name, number in found["versions"].items()}
    del seen["micropie"]  # It is asked above, in whatever version this is.
    assert pinned.items() >= seen.items()
