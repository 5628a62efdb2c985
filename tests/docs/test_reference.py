"""The reference: every public name once, and each setting that the pages name is one."""

from __future__ import annotations

import re
from collections import Counter

import micropie
import micropie.testing
import micropie.testing.browser
import micropie.testing.server
from docs._ext.package_tables import UNITS, setting
from micropie.settings import CHECKS
from tools.blocks import DOCS, pages

FIXTURES = ["live_server", "live_server_factory", "record_websockets"]
REFERENCE = DOCS / "reference"


def test_every_public_name_stands_in_the_reference_once() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages(REFERENCE))
    found = re.findall(r"^\.\. auto(?!method|property|attribute)\w+:: ([\w.]+)$", text, re.MULTILINE)
    names = [f"micropie.{name}" for name in [*micropie.__all__, "__version__"]]
    for module in (micropie.testing, micropie.testing.browser, micropie.testing.server):
        names += [f"{module.__name__}.{name}" for name in module.__all__]
    names += [f"micropie.pytest_plugin.{name}" for name in FIXTURES]
    assert Counter(found) == Counter(names)


def test_each_member_of_the_websocket_stands_under_one_of_the_headings() -> None:
    text = (REFERENCE / "websocket.rst").read_text(encoding="utf-8")
    own = public(micropie.WebSocket) - public(micropie.WebSocketRequest)
    found = re.findall(
        r"^\.\. auto(?:method|property|attribute):: micropie\.WebSocket\.(\w+)$", text, re.MULTILINE
    )
    assert Counter(found) == Counter([*own, "__aiter__"])


def test_each_member_of_a_request_is_told_of_for_a_websocket_too() -> None:
    """Either among what it has, on its own page, or among what it lacks, in the entry of WebSocketRequest."""
    has = (REFERENCE / "websocket.rst").read_text(encoding="utf-8").partition("\nThe request\n")[2]
    lacks = (
        (REFERENCE / "requests.rst")
        .read_text(encoding="utf-8")
        .partition(":: micropie.WebSocketRequest\n")[2]
    )
    named = re.findall(r"`~micropie\.Request\.(\w+)`", has + lacks)
    assert Counter(named) == Counter(public(micropie.Request))


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith(("_", "x_"))}


def test_every_setting_has_its_meaning_in_a_comment() -> None:
    """Autodoc shows a setting with its default and the comment above it; what has no default is no setting."""
    source = (DOCS.parent / "micropie" / "app.py").read_text(encoding="utf-8")
    assert re.findall(r"^    #: .+\n    (\w+): .+ =", source, re.MULTILINE) == list(CHECKS)


def test_the_table_of_settings_has_them_all_with_default_and_unit() -> None:
    """It is made from the code; what is held here is that each number says what it counts."""
    rows = {name: setting(name) for name in CHECKS}
    assert rows["max_body_size"][1:] == ["16 MiB", "bytes, a whole number above 0; ``None`` for no limit"]
    assert rows["session_timeout"][1:] == ["28,800 (8 hours)", "seconds, a whole number above 0"]
    assert rows["allowed_hosts"][1] == "none"
    assert [name for name, row in rows.items() if "None," in row[2] or len(row) != 3] == []
    numbers = {name for name in CHECKS if type(getattr(micropie.App, name)) in (int, float)}
    assert numbers == UNITS.keys()


def test_the_limits_page_has_the_defaults_of_the_code() -> None:
    text = (DOCS / "howto" / "forms-and-uploads.rst").read_text(encoding="utf-8")
    for name, shown in {
        "max_body_size": f"{micropie.App.max_body_size // 1024**2} MiB",
        "max_json_size": f"{micropie.App.max_json_size // 1024**2} MiB",
        "max_form_field_size": f"{micropie.App.max_form_field_size // 1024**2} MiB",
        "max_form_parts": f"{micropie.App.max_form_parts:,}",
        "body_timeout": f"{micropie.App.body_timeout:g}",
    }.items():
        assert re.search(rf"\* - ``{name}``\n     - .+\n     - {re.escape(shown)}\n", text), name
