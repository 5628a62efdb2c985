"""The page about security: its promises have tests, and what it states is what the code does."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import hypercorn
import pytest
import uvicorn
from daphne.cli import CommandLineInterface
from granian.cli import cli as granian
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from micropie import App
from micropie.exceptions import HTTPError
from micropie.request.origins import check_origin
from micropie.settings import CHECKS
from tests.driver import make_scope
from tests.helpers import ROOT
from tests.serving import serve
from tools.blocks import blocks, find_run

PATH = ROOT / "docs/howto/security.rst"
PAGE = PATH.read_text(encoding="utf-8")
POLICY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def rows(label: str) -> list[list[str]]:
    """The cells of the first table below a label, without its heading."""
    below = PAGE[PAGE.index(f".. _{label}:") :]
    _, table, *_ = re.split(r"^\.\. list-table::\n(?:   :.+\n)+\n", below, maxsplit=2, flags=re.MULTILINE)
    found = re.findall(r"^   \* - (.*(?:\n     .*)*)", table.split("\n\n")[0], re.MULTILINE)
    return [re.split(r"\n     - ?", row) for row in found][1:]


SAFE = rows("security-safe")
PROMISES = dict(rows("security-promises"))
LIMITS = {setting.strip("`"): default for setting, default, _ in rows("security-limits")}


def test_the_tables_are_read() -> None:
    assert len(SAFE) > 15
    assert len(PROMISES) > len(SAFE)
    assert len(LIMITS) > 5
    assert PAGE.count("::test_") + PAGE.count("::Test") == sum(map(len, map(named_in, PROMISES.values())))


# Promises and their tests


def named_in(cell: str) -> list[tuple[str, str]]:
    """The tests that a cell names, each as its file and its name."""
    return re.findall(r"^(?: +|)\| ``([\w/]+\.py)::(\w+)``$", cell, re.MULTILINE)


@cache
def collected(path: str) -> set[str]:
    """What pytest finds in a file: test functions, and classes, also those that are made by an assignment."""
    names = set()
    for node in ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if name.startswith(("test_", "Test"))}


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_has_its_tests(promise: str) -> None:
    named = named_in(PROMISES[promise])
    assert len(named) == PROMISES[promise].count("|") > 0
    for path, name in named:
        assert name in collected(path)


def test_what_is_safe_without_doing_anything_is_promised() -> None:
    assert list(PROMISES)[: len(SAFE)] == [promise for promise, _, _ in SAFE]


def test_every_setting_that_it_names_is_one() -> None:
    named = {setting for _, _, cell in SAFE for setting in re.findall("``(.+?)``", cell)}
    assert named | LIMITS.keys() <= CHECKS.keys()


def test_the_policy_points_to_the_page() -> None:
    links = re.findall(r"\]\(([^)]+)\)", POLICY)
    assert "docs/howto/security.rst" in links
    assert all((ROOT / path).exists() for path in links)


# What it states


def test_the_limits_are_those_of_the_code() -> None:
    sizes = {"MiB": 1024 * 1024, "s": 1, "": 1}
    shown = {}
    for name, text in LIMITS.items():
        number, _, unit = text.partition(" ")
        shown[name] = int(number) * sizes[unit]
    assert shown == {name: getattr(App, name) for name in shown}
    assert {name for name in CHECKS if name.startswith("max_")} <= shown.keys()
    assert "query string may have 1000 parameters" in PAGE


def test_a_session_lives_as_long_as_it_says() -> None:
    assert f"{App.session_timeout // 3600} hours after its last use" in PAGE


def test_the_line_in_the_log_is_the_one_that_it_shows(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"origin", b"http://evil.example"), (b"host", b"shop.example.com")]
    with pytest.raises(HTTPError):
        check_origin({"headers": headers}, ())
    [shown] = [block.source.strip() for block in blocks(PATH) if block.name == "security-log"]
    assert caplog.messages == [shown]


def test_the_servers_options_are_those_that_it_names() -> None:
    mib = 1024 * 1024
    daphne = CommandLineInterface().parser
    of_granian = {setting.name: setting for setting in granian.params}
    assert uvicorn.Config("").ws_max_size == 16 * mib
    assert hypercorn.Config().websocket_max_message_size == 16 * mib
    assert daphne.get_default("websocket_max_message_size") == mib
    assert not daphne.get_default("proxy_headers")
    assert not any("message" in name for name in of_granian)
    assert of_granian["http1_header_read_timeout"].default == 30_000


@pytest.mark.parametrize(
    ("wrap", "believes_everybody"), [(ProxyFixMiddleware, True), (wrap_asgi_with_proxy_headers, False)]
)
async def test_a_servers_middleware_believes_the_proxy(wrap: Any, believes_everybody: bool) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["scheme"], scope["client"][0]))

    said = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]
    for client in ("127.0.0.1", "192.0.2.1"):
        await wrap(app)(make_scope("http", "/", said, scheme="http", client=(client, 50000)), None, None)
    told = ("https", "203.0.113.9")
    assert seen == [told, told if believes_everybody else ("http", "192.0.2.1")]


SECURITY_HEADERS = {"content-security-policy", "strict-transport-security", "x-content-type-options"}


def test_the_app_of_the_page(tmp_path: Path) -> None:
    run = find_run(PATH, "security-settings")
    run.write(tmp_path)
    with (
        serve(tmp_path, run.command) as server,
        httpx.Client(base_url=server.url, headers={"Host": "shop.example.com"}) as client,
    ):
        for path, status in {"": 200, "orders?user=alice": 401, "app": 404}.items():
            answer = client.get(path)
            assert answer.status_code == status, path
            assert answer.headers.keys() >= SECURITY_HEADERS, path
        refused = client.get("", headers={"Host": "evil.example"})
        assert refused.status_code == 400
        assert not refused.headers.keys() & SECURITY_HEADERS
        address = f"{server.ws_url}prices"
        for origin in (server.url.strip("/"), "https://www.example.com", None):
            with connect(address, origin=origin) as ws:
                assert ws.recv() == '{"apple":1.2}'
        for origin in ("https://evil.example", "http://www.example.com", "null"):
            with pytest.raises(InvalidStatus, match="403"), connect(address, origin=origin):
                pass
