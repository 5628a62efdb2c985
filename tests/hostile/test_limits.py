"""A hostile client beside an innocent one, on a running server: what comes of it, what it costs, whom it holds up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import pytest

from tests.hostile.attacks import Case, ask, get, posted
from tests.hostile.cases import CASES, LENGTHS
from tests.hostile.innocent import ECHOES, Innocent, Latency
from tests.serving import PATIENCE, Server, serve

TARGET = Path(__file__).parent / "target"

#: How many times as long as on a server that is left alone an echo may take: 99 of 100, and each of them.
P99, LONGEST = 50, 100


@pytest.fixture(scope="module")
def server_of() -> Iterator[Callable[[str], Server]]:
    """The server of an app; what one attack leaves behind, the next one finds."""
    with ExitStack() as stack:
        servers: dict[str, Server] = {}

        def started(app: str) -> Server:
            if app not in servers:
                servers[app] = stack.enter_context(serve(TARGET, f"uvicorn --no-access-log {app}"))
            return servers[app]

        yield started


@pytest.fixture(scope="module")
def control() -> Iterator[Server]:
    with serve(TARGET) as server:
        yield server


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_attack(case: Case, server_of: Callable[[str], Server], control: Server) -> None:
    server = server_of(case.app)
    attack = partial(case.prepare(), server)
    before = memory(server)
    with Innocent(server, control) as innocent:
        latency, outcomes = innocent.echo_beside(attack)
    assert [outcome for outcome in outcomes if outcome != case.outcome] == []
    assert latency.ratio(0.99) <= P99 * case.slowness, str(latency)
    assert latency.ratio(1) <= LONGEST * case.slowness, str(latency)
    assert memory(server, "peak") - before <= case.memory


def memory(server: Server, which: str = "now") -> int:
    """The resident memory of a server in bytes, or its peak since the last question."""
    if not Path("/proc/self/clear_refs").exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("memory is measured on Linux only")
    return int(httpx.get(server.url + "memory", timeout=PATIENCE).raise_for_status().json()[which])


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_content_length(parser: str) -> None:
    """Most of it is the server's to refuse; what it lets pass is a number, or refused here."""
    with serve(TARGET, f"uvicorn --http {parser} app:hurried") as server:
        seen = {
            length: ask(server, [b"".join(posted("body", "a/b", [b"12345"], length))]) for length in LENGTHS
        }
    assert seen == {length: expected[parser] for length, expected in LENGTHS.items()}


def test_two_stalls_of_a_second_and_a_half_are_too_long(control: Server) -> None:
    def stall_twice(enough: Event) -> list[int | str]:
        enough.set()
        return [ask(server, get("stall")) for _ in range(2)]

    with serve(TARGET) as server, Innocent(server, control) as innocent:
        latency, outcomes = innocent.echo_beside(stall_twice)
    assert outcomes == [[200, 200]]
    # What the control takes depends on how busy this machine is; on one that is not, this is too long.
    idle = Latency(control=[0.0], beside=latency.beside)
    assert idle.ratio(0.99) > P99, str(latency)
    assert idle.ratio(1) > LONGEST, str(latency)


def test_a_stall_of_a_second_is_too_long() -> None:
    quick = [0.0001] * ECHOES
    assert Latency(quick, [*quick, 1.01]).ratio(1) > LONGEST
    assert Latency(quick, [*quick, 1.01, 1.01]).ratio(0.99) > P99
