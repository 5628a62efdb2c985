"""From what a user names to the app."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from micropie import App
from micropie.cli.loading import AppNotFound, Target, executed, load
from micropie.cli.shadowed_modules import name_the_cure

SITE = "from micropie import App\n\nclass Site(App):\n    async def index(self): return 'hi'\n\n"


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let the test work in its own folder, and forget what it imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (file or "").startswith(str(tmp_path)) or (file is None and name not in before):
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
        ("site.py:create", SITE + "def create(): return Site()"),
        ("site.py:create", SITE + "def create(config=None, debug=False, db=None): return Site()"),
        ("site.py:create", SITE + "create = lambda: Site()"),
        ("site.py:Site.make", SITE + "    @classmethod\n    def make(cls): return cls()"),
        ("pages.site:create", SITE + "def create(): return Site()"),
        ("site.py", SITE + "def app(): return Site()"),
        ("site.py", SITE + "class App:\n    async def __call__(self, *args): ...\n\napp = App()"),
    ],
)
def test_an_app_is_found(text: str, source: str, tmp_path: Path) -> None:
    place = Target.parse(text).place
    path = tmp_path / ("pages/site.py" if place == "pages.site" else place)
    path.parent.mkdir(exist_ok=True)
    path.write_text(source, encoding="utf-8")
    found: Any = load(text)
    assert isinstance(found, App) or "app" in (getattr(found, "__name__", ""), type(found).__name__.lower())


@pytest.mark.parametrize(
    ("text", "source", "words"),
    [
        ("other.py", "", "there is no file other.py in "),
        (".", "", ". is a folder: name a file in it"),
        ("other", "", "there is no module 'other' here; a file is written other.py"),
        ("deep.other", "", "there is no module 'deep' here"),
        ("my-site.txt", "", "my-site.txt isn't a Python file"),
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
        ("site.py:x", "x = 1", "x in site.py is 1, not an app"),
        (
            "site.py",
            SITE + "def create_app(): return Site()",
            "site.py has no app: name the function that makes it, as in site.py:create_app",
        ),
        (
            "site.py:create",
            "async def create(): ...",
            "create in site.py is async: make the app in a function that is not",
        ),
        ("site.py:create", "def create(): pass", "create() in site.py returned None, not an app"),
        (
            "site.py:create",
            SITE + "def create(): return Site",
            "create() in site.py returned <class",
        ),
        (
            "site.py:create",
            "def create(config): ...",
            "create(config) in site.py is neither an app nor a function that makes one without arguments",
        ),
        ("typing", "", "typing is a module of Python's own; a file is written typing.py"),
        ("folder", "", "folder is a folder: name a file in it, such as folder/app.py"),
        ("folder/", "", "folder is a folder: name a file in it, such as app.py"),
        ("package", "", "package/__init__.py has no app: it needs a line such as from .web import app"),
        ("package/", "", "package/__init__.py has no app: it needs a line such as from .web import app"),
        ("site.py", "app = 'x'", "app in site.py is 'x', not an app"),
    ],
)
def test_why_there_is_no_app(text: str, source: str, words: str, tmp_path: Path) -> None:
    for name in ("site.py", "my-site.txt"):
        (tmp_path / name).write_text(source, encoding="utf-8")
    for folder in ("folder", "package"):
        (tmp_path / folder).mkdir()
    (tmp_path / "package" / "__init__.py").touch()
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


RELATIVE = f"from .models import PIE\n{SITE}app = Site()\napp.pie = PIE"


@pytest.mark.parametrize("packaged", [True, False])
@pytest.mark.parametrize(
    ("text", "folder", "files"),
    [
        ("shop/web.py", ".", {"shop/web.py": RELATIVE}),
        ("web.py", "shop", {"shop/web.py": RELATIVE}),
        ("shop/web.py", ".", {"shop/web.py": RELATIVE.replace(".models", "models")}),
        (
            "shop/web.py",
            ".",
            {"shop/web.py": RELATIVE.replace(".models", "shop.models") + "\nfrom . import models"},
        ),
        ("shop/typing.py", ".", {"shop/typing.py": RELATIVE}),
        ("shop/my-web.py", ".", {"shop/my-web.py": RELATIVE}),
        ("shop/pages/web.py", ".", {"shop/pages/web.py": RELATIVE.replace(".models", "..models")}),
        ("shop/web.py:create", ".", {"shop/web.py": RELATIVE + "\ndef create(): return app"}),
        ("shop.web", ".", {"shop/web.py": RELATIVE}),
        ("typing/web.py", ".", {"typing/web.py": RELATIVE, "typing/models.py": "PIE = 'apple'"}),
    ],
)
def test_a_file_imports_its_package(
    text: str,
    folder: str,
    files: dict[str, str],
    packaged: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether or not its folder says that it is one, and wherever the command runs."""
    for name, source in ({"shop/models.py": "PIE = 'apple'"} | files).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source, encoding="utf-8")
        if packaged:
            (tmp_path / name).parent.joinpath("__init__.py").touch()
    monkeypatch.chdir(tmp_path / folder)
    modules = {name: sys.modules.get(name) for name in ("typing", "micropie")}
    assert load(text).pie == "apple"
    assert type(load(text)).__module__ in sys.modules
    assert {name: sys.modules.get(name) for name in modules} == modules


def test_a_package_has_its_app_in_its_init(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "models.py").write_text("PIE = 'apple'", encoding="utf-8")
    (tmp_path / "shop" / "__init__.py").write_text(RELATIVE, encoding="utf-8")
    for text in ("shop", "shop/", "shop/__init__.py", "shop/:app", str(tmp_path / "shop")):
        assert load(text).pie == "apple"


@pytest.mark.parametrize("name", ["typing", "micropie", "__main__", "queue", "site", "pytest"])
def test_a_file_hides_no_other_module(name: str, tmp_path: Path) -> None:
    before = sys.modules.get(name)
    (tmp_path / f"{name}.py").write_text(f"{SITE}app = Site()", encoding="utf-8")
    found = [load(f"{name}.py") for _ in range(2)]
    assert sys.modules.get(name) is before
    assert {type(app).__module__ for app in found} == {f"{name}_"}


def test_what_a_package_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "shop_that_fails").mkdir()
    for name, source in (("__init__", ""), ("web", "from .models import x"), ("models", "1 / 0")):
        (tmp_path / "shop_that_fails" / f"{name}.py").write_text(source, encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        load("shop_that_fails/web.py")
    assert not [name for name in sys.modules if name.startswith("shop_that_fails")]


def test_a_live_servers_file_imports_its_package(tmp_path: Path) -> None:
    """Anew each time, also beside the test's own import of it."""
    (tmp_path / "bakery").mkdir()
    (tmp_path / "bakery" / "models.py").write_text("PIE = 'apple'", encoding="utf-8")
    (tmp_path / "bakery" / "web.py").write_text(RELATIVE, encoding="utf-8")
    path = list(sys.path)
    with (
        executed(tmp_path / "bakery" / "web.py", "one") as one,
        executed(tmp_path / "bakery" / "web.py", "two") as two,
    ):
        assert one.app.pie == two.app.pie
        assert one.app is not two.app
        assert {"one.web", "one.models", "two.web", "two.models"} <= sys.modules.keys()
    assert not [name for name in sys.modules if name.startswith(("one.", "two."))]
    assert sys.path == path


def test_a_note_names_the_file_that_hides_pythons_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(f"import calendar\n{SITE}calendar.Calendar", encoding="utf-8")
    (tmp_path / "calendar.py").touch()
    monkeypatch.delitem(sys.modules, "calendar", raising=False)
    with pytest.raises(AttributeError) as raised:
        load("app.py")
    name_the_cure(raised.value)
    [note] = raised.value.__notes__
    assert (
        note
        == f"{tmp_path / 'calendar.py'} takes the place of Python's own module calendar: give it another name"
    )


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
