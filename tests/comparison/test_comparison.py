"""What the docs say of other frameworks, asked of these themselves; with ``--write``, written anew."""

from __future__ import annotations

import json
import pkgutil
import sys
import warnings
from datetime import UTC, datetime

import pytest

from tests.comparison.observing import PARTS, PEERS, SEEN, observe


@pytest.mark.parametrize("peer", PEERS)
def test_what_it_does_is_what_was_seen(peer: str, request: pytest.FixtureRequest) -> None:
    found = observe(peer)
    table = json.loads(SEEN.read_text(encoding="utf-8"))
    if request.config.getoption("--write") and table["peers"].get(peer) != found:
        table |= {"date": datetime.now(UTC).date().isoformat(), "python": "{}.{}".format(*sys.version_info)}
        table["peers"][peer] = found
        SEEN.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == table["peers"][peer]


@pytest.fixture(scope="module")
def django() -> None:
    """Django's own parts can be imported when it is set up."""
    import django
    from django.conf import settings

    apps = ("admin", "auth", "contenttypes", "sessions")
    settings.configure(INSTALLED_APPS=[f"django.contrib.{name}" for name in apps])
    django.setup()


@pytest.mark.usefixtures("django")
@pytest.mark.parametrize("part", PARTS)
def test_what_it_has_can_be_imported(part: str) -> None:
    for peer in PEERS.keys() & PARTS[part].keys():
        with warnings.catch_warnings(action="ignore"):
            assert pkgutil.resolve_name(PARTS[part][peer])
