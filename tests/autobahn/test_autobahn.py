"""The Autobahn test suite: an echo in MicroPie fails no case that a raw ASGI echo passes on the same server."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.serving import CONFIGURATIONS, Server

ECHO = Path(__file__).parent / "echo"
APPS = ("raw", "micropie")

# The limit of each server is raised to 32 MiB; granian's own is 64 MiB.
LIMITS = {
    "uvicorn": "--ws-max-size 33554432",
    "hypercorn": "--config hypercorn.toml",
    "granian": "",
    "daphne": "--websocket-max-message-size 33554432 --websocket-max-frame-size 33554432",
}

# How many cases a group has, so that a run which breaks off is no success.
CASES = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126}

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_case_fails_that_a_raw_echo_passes(
    name: str, wstest: Path, tmp_path: Path, pytestconfig: pytest.Config, figures: list[str]
) -> None:
    groups = pytestconfig.getoption("groups").split()
    servers = {app: Server(ECHO, command(name, app)) for app in APPS}
    with closing(servers["raw"]), closing(servers["micropie"]):
        for server in servers.values():
            server.start()
        verdicts = fuzz(wstest, tmp_path, {app: server.ws_url for app, server in servers.items()}, groups)
    figures += [f"{name}, {app}: {summary(verdicts[app])}" for app in APPS]
    assert len(verdicts["raw"]) == sum(CASES[int(group)] for group in groups)
    assert verdicts["raw"].keys() == verdicts["micropie"].keys()
    only_here = failed(verdicts["micropie"]) - failed(verdicts["raw"])
    assert not only_here, f"see {tmp_path}/reports/index.html"


def command(name: str, app: str) -> str:
    """The command of a configuration, for one of the apps."""
    usual = CONFIGURATIONS[name]
    return f"{usual.replace('app:app', f'app:{app}')} {LIMITS[usual.split()[0]]}"


def fuzz(wstest: Path, folder: Path, urls: dict[str, str], groups: list[str]) -> dict[str, dict[str, str]]:
    """Let the suite's client loose on the servers; return the verdict on each case for each of them."""
    spec = {
        "outdir": str(folder / "reports"),
        "servers": [{"agent": app, "url": url} for app, url in urls.items()],
        "cases": [f"{group}.*" for group in groups],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    # Its exit status says nothing.
    program = [wstest, "--mode", "fuzzingclient", "--spec", "spec.json"]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    index = folder / "reports" / "index.json"
    assert index.is_file(), done.stdout + done.stderr
    reports = json.loads(index.read_text(encoding="utf-8"))
    return {app: {case: verdict(report) for case, report in reports[app].items()} for app in urls}


def verdict(report: dict[str, Any]) -> str:
    """What the suite says of the messages, and if that is good, of the close."""
    behaviour: str = report["behavior"]
    close: str = report["behaviorClose"]
    return behaviour if close in PASSED or behaviour not in PASSED else f"close {close}"


def failed(verdicts: dict[str, str]) -> set[str]:
    return {case for case, found in verdicts.items() if found not in PASSED}


def summary(verdicts: dict[str, str]) -> str:
    counts = ", ".join(f"{count} {found}" for found, count in Counter(verdicts.values()).most_common())
    cases = f" ({' '.join(sorted(failed(verdicts)))})" if failed(verdicts) else ""
    return f"{len(verdicts)} cases: {counts}{cases}"
