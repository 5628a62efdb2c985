"""The gallery is complete: no example lacks its page, its tests, its pictures or its instructions."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile

import pytest

from docs._ext.showcase import write_zip
from micropie.cli.examples import files
from tools.blocks import DOCS, blocks, pytest_runs, runs
from tools.examples import EXAMPLES, SHARED, examples, stale

BROWSER_TESTS = DOCS.parent / "tests" / "e2e"
INDEX = (EXAMPLES / "index.rst").read_text(encoding="utf-8")

# The parts of an example's page, in this order; the next example follows them.
SECTIONS = ["Source", "Run it", "On the wire", "When something ends or fails", "In the reference"]
LONGEST_APP = 140  # Lines: an example is read as a lesson.
LARGEST_PICTURE = 40_000  # Bytes.

# What a browser that runs Python itself cannot do.
NOT_IN_A_PAGE = r"\b(threading|multiprocessing|subprocess|to_thread|scrypt|pbkdf2_hmac|start_server)\b"


def page_of(name: str) -> str:
    return (EXAMPLES / name / "index.rst").read_text(encoding="utf-8")


each_example = pytest.mark.parametrize("name", examples())


def test_the_shared_files_are_the_same_everywhere() -> None:
    """``python -m tools.examples`` rewrites the copies."""
    assert [str(copy.relative_to(EXAMPLES)) for copy, _ in stale()] == []


@each_example
def test_it_has_the_stylesheet_and_the_setting_of_its_tests(name: str) -> None:
    shared = {path.name for path in SHARED.iterdir()}
    assert shared == {"style.css", "live.js", "pytest.ini"}
    assert (EXAMPLES / name / "style.css").is_file()
    assert (EXAMPLES / name / "pytest.ini").is_file()


@each_example
def test_its_page_has_every_part(name: str) -> None:
    page = page_of(name)
    found = re.findall(r"^(.+)\n-+$", page, re.MULTILINE)
    assert [section for section in found if section in SECTIONS] == SECTIONS
    assert ".. showcase::\n   :alt: " in page
    wire = page[page.index("\nOn the wire\n") : page.index("\nWhen something ends or fails\n")]
    assert re.search(r"^1\. ", wire, re.MULTILINE), "no numbered steps"
    ends = page[page.index("\nWhen something ends or fails\n") : page.index("\nIn the reference\n")]
    sockets = "WebSocket" in (EXAMPLES / name / "app.py").read_text(encoding="utf-8") or name == "socketio"
    assert not sockets or re.search(r"\*\*1\d\d\d\*\*", wire + ends), "no close code is named"
    assert re.search(r"^The tab is closed$", ends, re.MULTILINE)
    assert re.search(r"^.*handler fails$", ends, re.MULTILINE)


@each_example
def test_its_page_shows_every_file_and_both_commands(name: str) -> None:
    page = EXAMPLES / name / "index.rst"
    shown = {block.caption for block in blocks(page) if block.is_file}
    assert shown == {path.relative_to(page.parent).as_posix() for path in files(page.parent)}
    assert [run.command.split(" --")[0] for run in runs(page)] == ["uvicorn app:app"]
    assert [run.command for run in pytest_runs(page)] == ["pytest"]


@each_example
def test_a_browser_uses_it_and_takes_its_pictures(name: str) -> None:
    tests = (BROWSER_TESTS / f"test_example_{name}.py").read_text(encoding="utf-8")
    assert f'run_example("{name}")' in tests
    assert re.search(rf'show\(\w+, "{name}"\)', tests)


@each_example
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_its_pictures_are_small(name: str, theme: str) -> None:
    """``pytest tests/e2e -k example_NAME --write-screenshots`` writes them."""
    picture = (EXAMPLES / name / f"{theme}.webp").read_bytes()
    assert picture[8:12] == b"WEBP"
    assert len(picture) < LARGEST_PICTURE


@each_example
def test_its_python_is_short_and_runs_anywhere(name: str) -> None:
    source = (EXAMPLES / name / "app.py").read_text(encoding="utf-8")
    assert source.count("\n") <= LONGEST_APP
    assert not re.search(NOT_IN_A_PAGE, source)


def test_the_gallery_has_a_card_for_each() -> None:
    names = list(examples())
    assert sorted(re.findall(r"^   :(\w+): \S", INDEX, re.MULTILINE)) == names
    assert sorted(re.findall(r"^   (\w+)/index$", INDEX, re.MULTILINE)) == names


def test_the_next_example_leads_around_all_of_them() -> None:
    """In the order of the cards, and back to the first."""
    order = re.findall(r"^   :(\w+): \S", INDEX, re.MULTILINE)
    following = {
        name: re.findall(r"^Next example: .*:doc:`\.\./(\w+)/index`\.$", page_of(name), re.MULTILINE)
        for name in order
    }
    assert following == {name: [after] for name, after in zip(order, order[1:] + order[:1], strict=True)}
    assert re.findall(r"^   (\w+)/index$", INDEX, re.MULTILINE) == order


@each_example
def test_its_zip_is_its_folder(name: str, tmp_path: Path) -> None:
    target = tmp_path / "example.zip"
    write_zip(EXAMPLES / name, target)
    first = target.read_bytes()
    with ZipFile(target) as archive:
        archive.extractall(tmp_path)
    for path in files(EXAMPLES / name):
        assert (tmp_path / name / path.relative_to(EXAMPLES / name)).read_bytes() == path.read_bytes()
    assert {"app.py", "index.html", "style.css", "test_app.py"} <= {
        path.name for path in (tmp_path / name).iterdir()
    }
    write_zip(EXAMPLES / name, target)
    assert target.read_bytes() == first
