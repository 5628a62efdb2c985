"""The page about security: its promises have tests, and its limits are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from micropie import App

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/howto/security.rst").read_text(encoding="utf-8")
PROMISES = re.findall(r"   \* - (.+)\n     - (``[\w/]+\.py::.+)\n", PAGE)
LIMITS = dict(re.findall(r"   \* - ``(\w+)``\n     - ([\w ]+)\n", PAGE))


def defined(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_the_table_is_read() -> None:
    rows = PAGE.count("   * - ", PAGE.index(".. _security-promises:")) - 1  # but its heading
    assert len(PROMISES) == rows > 10


@pytest.mark.parametrize(("promise", "tests"), PROMISES)
def test_a_promise_has_its_test(promise: str, tests: str) -> None:
    for path, name in re.findall(r"``([\w/.]+)::(\w+)``", tests):
        assert name in defined(ROOT / "tests" / path), promise


def test_the_limits_are_those_of_the_code() -> None:
    sizes = {"MiB": 1024 * 1024, "s": 1, "": 1}
    shown = {}
    for name, text in LIMITS.items():
        number, _, unit = text.partition(" ")
        shown[name] = int(number) * sizes[unit]
    assert shown == {name: getattr(App, name) for name in shown}
    assert {name for name in vars(App) if name.startswith("max_")} <= shown.keys()


def test_the_policy_points_to_the_page() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\(([^)]+)\)", policy):
        assert (ROOT / path).exists()
