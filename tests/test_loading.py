"""From what a user names to the app."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from micropie import App
from micropie.loading import AppNotFound, Target, executed, load

SITE = "from micropie import App\n\nclass Site(App):\n    async def index(self): return 'hi'\n\n"


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let the test work in its own folder, and forget what it imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "place", "name", "is_file"),
    [
        ("app.py", "app.py", "", True),
        ("app.py:site", "app.py", "site", True),
        ("shop/app.py:shop.site", "shop/app.py", "shop.site", True),
        ("C:\\shop\\app.py", "C:\\shop\\app.py", "", True),
        ("C:/shop/app.py:site", "C:/shop/app.py", "site", True),
        ("my-app", "my-app", "", True),
        ("app", "app", "", False),
        ("app:site", "app", "site", False),
        ("shop.web:site", "shop.web", "site", False),
    ],
)
def test_what_a_user_names(text: str, place: str, name: str, is_file: bool) -> None:
    target = Target.parse(text)
    assert (target.place, target.name, target.is_file) == (place, name, is_file)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("site.py", SITE + "app = Site()"),
        ("site.py", SITE + "shop = Site()"),
        ("site.py", SITE + "shop = also = Site()"),
        ("site.py", SITE + "app = Site()\nother = Site()"),
        ("site.py:shop", SITE + "app = 1\nshop = Site()"),
        ("site.py:Holder.site", SITE + "class Holder:\n    site = Site()"),
        ("site.py", "async def app(scope, receive, send): ..."),
        ("pages.site", SITE + "app = Site()"),
        ("pages.site:shop", SITE + "shop = Site()"),
        ("my-site.py", SITE + "app = Site()"),
    ],
)
def test_an_app_is_found(text: str, source: str, tmp_path: Path) -> None:
    place = Target.parse(text).place
    path = tmp_path / ("pages/site.py" if place == "pages.site" else place)
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")
    found = load(text)
    assert isinstance(found, App) or found.__name__ == "app"


@pytest.mark.parametrize(
    ("text", "source", "words"),
    [
        ("other.py", "", "there is no file other.py in "),
        (".", "", ". is a folder: name a file in it"),
        ("other", "", "there is no module 'other' here; a file is written other.py"),
        ("deep.other", "", "there is no module 'deep' here"),
        ("my-site.txt", "", "my-site.txt is no Python file"),
        (
            "site.py",
            "x = 1",
            "site.py has no app: it needs a line such as class Site(App): ... and app = Site()",
        ),
        ("site.py", SITE, "site.py has no app: it needs a line such as app = Site()"),
        (
            "site.py",
            SITE + "a = Site()\nb = Site()",
            "site.py has several apps, a, b: name one, as in site.py:a",
        ),
        ("site.py:c", SITE + "a = Site()\nb = Site()", "site.py has no c; apps in it: a, b"),
        ("site.py:c.d", "x = 1", "site.py has no c.d; apps in it: none"),
        ("site.py", SITE + "app = Site", "app in site.py is a class: make an app of it, app = Site()"),
        ("site.py:Site", SITE, "Site in site.py is a class: make an app of it, Site = Site()"),
        ("site.py:x", "x = 1", "x in site.py is no app, but 1"),
        ("site.py", "app = 'x'", "app in site.py is no app, but 'x'"),
    ],
)
def test_why_there_is_no_app(text: str, source: str, words: str, tmp_path: Path) -> None:
    for name in ("site.py", "my-site.txt"):
        (tmp_path / name).write_text(source, encoding="utf-8")
    with pytest.raises(AppNotFound) as caught:
        load(text)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("text", "source", "error"),
    [
        ("shop.py", "def", SyntaxError),
        ("shop.py", "1 / 0", ZeroDivisionError),
        ("shop.py", "import nowhere_to_be_found", ModuleNotFoundError),
        ("shop", "import nowhere_to_be_found", ModuleNotFoundError),
    ],
)
def test_what_a_file_raises_is_raised(text: str, source: str, error: type, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(source, encoding="utf-8")
    with pytest.raises(error):
        load(text)
    assert "shop" not in sys.modules


def test_a_file_and_its_neighbours_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not what stands in an environment below it."""
    environment = tmp_path / "venv"
    environment.mkdir()
    monkeypatch.syspath_prepend(str(environment))
    (environment / "installed_thing.py").touch()
    (tmp_path / "neighbour.py").write_text("NAME = 'next door'", encoding="utf-8")
    (tmp_path / "app.py").write_text("import installed_thing\nfrom neighbour import NAME", encoding="utf-8")
    path = list(sys.path)
    with executed(tmp_path / "app.py", "one_of_its_own") as module:
        assert module.NAME == "next door"
        assert {"one_of_its_own", "neighbour"} <= sys.modules.keys()
    assert not {"one_of_its_own", "neighbour"} & sys.modules.keys()
    assert "installed_thing" in sys.modules
    assert sys.path == path
