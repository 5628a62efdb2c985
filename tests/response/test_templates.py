"""Jinja2 templates: where they are found, what is escaped, and what is said when Jinja2 is missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from micropie import App
from tests.driver import http

SOURCE = """
from micropie import App

class Site(App):
    async def index(self, name="x"):
        return await self._render_template("page.html", name=name, self="also a name")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app in a module of its own, in the folder ``app``, while the process works in ``work``."""
    for folder in ("app/templates", "work/templates"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app/site.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path / "work")
    spec = importlib.util.spec_from_file_location("site_under_test", tmp_path / "app/site.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    app: App = module.Site()
    return app


async def test_templates_stand_beside_the_apps_module_or_in_the_working_directory(
    site: App, tmp_path: Path
) -> None:
    (tmp_path / "work/templates/page.html").write_text("working directory")
    assert (await http(site, "/")).text == "working directory"
    (tmp_path / "app/templates/page.html").write_text("beside the module")
    del vars(site)["env"]
    assert (await http(site, "/")).text == "beside the module"


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("{{ name }}", "&lt;b&gt;"),
        ("{{ name | safe }}", "<b>"),
        ("{{ self }}", ""),
    ],
)
async def test_values_are_escaped(site: App, tmp_path: Path, template: str, answer: str) -> None:
    (tmp_path / "app/templates/page.html").write_text(template)
    got = await http(site, "/?name=<b>")
    assert got.status == 200
    assert answer in got.text
    assert got.headers["content-type"] == "text/html; charset=utf-8"


async def test_templates_with_another_ending_are_escaped_too(site: App, tmp_path: Path) -> None:
    (tmp_path / "app/templates/page.j2").write_text("{{ x }}")
    assert await site._render_template("page.j2", x="<") == "&lt;"
    assert await site.env.from_string("{{ x }}").render_async(x="<") == "&lt;"


async def test_a_template_can_await(site: App, tmp_path: Path) -> None:
    (tmp_path / "app/templates/page.html").write_text("{{ load() }}")

    async def load() -> str:
        return "loaded"

    assert await site._render_template("page.html", load=load) == "loaded"


async def test_a_missing_template_is_a_500(site: App, caplog: pytest.LogCaptureFixture) -> None:
    assert (await http(site, "/")).status == 500
    assert "TemplateNotFound" in caplog.text


async def test_no_template_is_found_outside(site: App, tmp_path: Path) -> None:
    (tmp_path / "app/secret.html").write_text("secret")
    with pytest.raises(Exception, match="secret"):
        await site._render_template("../secret.html")


@pytest.mark.parametrize("module", [None, ModuleType("a module without a file")])
async def test_an_app_without_a_file_uses_the_working_directory(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Site(App):
        pass

    Site.__module__ = "module_without_a_file"
    if module is not None:
        monkeypatch.setitem(sys.modules, Site.__module__, module)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/page.html").write_text("found")
    monkeypatch.chdir(tmp_path)
    assert await Site()._render_template("page.html") == "found"


async def test_without_jinja2_one_sentence_names_the_extra(
    site: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RuntimeError) as raised:
        _ = site.env
    assert str(raised.value) == "templates need Jinja2: install micropie with the extra 'templates'"
    assert (await http(site, "/")).status == 500
    assert "the extra 'templates'" in caplog.text
