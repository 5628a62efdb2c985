"""The files around the package agree with each other."""

from __future__ import annotations

import ast
import configparser
import re

import pytest
import yaml

from tests.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def test_the_readme_has_one_command_for_all_tests_and_ci_runs_it() -> None:
    [pattern] = re.findall(r"grep -x '(.+)' README\.md", (ROOT / ".ci/run").read_text(encoding="utf-8"))
    commands = [line for line in README.splitlines() if re.fullmatch(pattern, line)]
    assert commands == ["python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox"]


def test_the_readme_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_app_defines_its_routes() -> None:
    [source] = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(ast.parse(source), "README.md", "exec"), names)
    app = names["app"]
    assert callable(app)
    assert {"greet", "ws_echo"} <= set(dir(app))


def test_the_forge_runs_the_environments_of_a_plain_tox(tox: configparser.ConfigParser) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["tox"]
    assert job["strategy"]["matrix"]["env"] == tox["tox"]["env_list"].split(", ")
    assert "python -m tox -e ${{ matrix.env }}" in [step.get("run") for step in job["steps"]]


def test_every_environment_says_what_it_is_for(tox: configparser.ConfigParser) -> None:
    environments = [name for name in tox.sections() if name.startswith("testenv")]
    assert all(tox[name].get("description") for name in environments)


def test_what_a_linter_is_told_to_overlook_says_which_rule_and_why() -> None:
    folders = ("benchmarks", "docs", "micropie", "tests", "tools")
    files = [
        path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".rst"}
    ]
    mark = re.compile(r"# *(?:ruff: *)?(?:noqa|type: *ignore).*", re.IGNORECASE)
    marks = [found for file in files for found in mark.findall(file.read_text(encoding="utf-8"))]
    assert marks
    rule = r"(ruff: )?noqa: [A-Z]+\d+|type: ignore\[[a-z-]+\]"
    assert [found for found in marks if not re.fullmatch(rf"# ({rule})  # \w.+", found)] == []
