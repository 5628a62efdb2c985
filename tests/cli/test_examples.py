"""The examples as the command line hands them out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from micropie.cli import examples
from micropie.cli.examples import ExampleError, copy, files, missing, sentence
from tools.examples import EXAMPLES
from tools.examples import examples as written

FOUND = examples.examples()


def test_all_examples_of_the_documentation_are_there() -> None:
    assert list(FOUND) == list(written())


@pytest.mark.parametrize("name", FOUND)
def test_each_says_what_it_is_about(name: str) -> None:
    about = sentence(FOUND[name])
    assert about[0].isupper()
    assert about.endswith(".")


@pytest.mark.parametrize("name", FOUND)
def test_a_copy_is_the_example_without_its_page(name: str, tmp_path: Path) -> None:
    names = copy(name, tmp_path / "new" / "folder")
    assert {"app.py", "index.html", "test_app.py"} <= set(names)
    assert not [path for path in names if path.endswith((".rst", ".webp", ".pyc"))]
    for path in names:
        assert (tmp_path / "new" / "folder" / path).read_bytes() == (EXAMPLES / name / path).read_bytes()
    assert missing(tmp_path / "new" / "folder") == []


def test_a_copy_goes_into_an_empty_folder(tmp_path: Path) -> None:
    copy("echo", tmp_path)
    with pytest.raises(ExampleError, match="is there already: name a folder that is new or empty"):
        copy("echo", tmp_path)
    with pytest.raises(ExampleError, match="is there already"):
        copy("echo", tmp_path / "app.py")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ecco", "there is no example 'ecco'; did you mean echo?"),
        ("x", "there is no example 'x'; there are "),
    ],
)
def test_an_example_that_is_not_there(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ExampleError) as caught:
        copy(name, tmp_path)
    assert str(caught.value).startswith(words)


def test_subfolders_come_along_and_what_python_leaves_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("app.py", "templates/page.html", "__pycache__/app.pyc", "index.rst", "light.webp"):
        (tmp_path / "_examples" / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "_examples" / "one" / name).write_text('"""What it is."""', encoding="utf-8")
    monkeypatch.setattr(examples, "_HERE", tmp_path)
    assert copy("one", tmp_path / "copy") == ["app.py", "templates/page.html"]
    assert sentence(tmp_path / "copy") == "What it is."
    assert [path.name for path in files(tmp_path / "copy")] == ["app.py", "page.html"]


def test_an_installation_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_HERE", tmp_path / "nowhere")
    with pytest.raises(ExampleError, match="this installation came without the examples"):
        examples.examples()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.py").write_text(
        "import json, helper, socketio.asgi\nfrom nowhere_to_be_found import a\nfrom . import b\n",
        encoding="utf-8",
    )
    (tmp_path / "helper.py").write_text("def f():\n    import also_nowhere.b\n", encoding="utf-8")
    found = examples.importlib.util.find_spec
    monkeypatch.setattr(
        examples.importlib.util,
        "find_spec",
        lambda name: None if name in ("socketio", "pytest") else found(name),
    )
    assert missing(tmp_path) == ["micropie[socketio,testing]", "also_nowhere", "nowhere_to_be_found"]
    assert "helper" not in sys.modules
