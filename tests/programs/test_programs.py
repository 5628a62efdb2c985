"""Random programs, found and shrunk by Hypothesis: whatever a handler does, what is sent is legal, and it ends.

A failure prints the smallest program that breaks a rule.  ``python -m tests.programs`` runs many more, and shrinks
none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings

from . import http_programs, ws_programs
from .http_programs import Exchange
from .source import drawn
from .trial import Hook, Setting, Step, quiet
from .virtual import VirtualLoop
from .ws_programs import Program

#: Always the same examples: a failure in CI is one that everybody gets.
PROFILE = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.fixture(scope="module")
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    with quiet():
        yield loop
    loop.close()


@pytest.fixture(scope="module")
def websockets(loop: VirtualLoop) -> ws_programs.Stage:
    return ws_programs.Stage(loop)


@pytest.fixture(scope="module")
def exchanges(loop: VirtualLoop) -> http_programs.Stage:
    return http_programs.Stage(loop)


ACCEPT = Step("accept", "plain")


# What was found once is tried first.
@example(program=Program((ACCEPT, Step("run", parts=((),))), setting=Setting((Hook(),), cancels=(17,))))
@example(program=Program((ACCEPT,), setting=Setting(cookie="known", place="chosen")))
@example(program=Program(setting=Setting(place="mounted", send_fails=1, failure="Exception")))
@settings(PROFILE, max_examples=14_000)
@given(program=drawn(ws_programs.generate))
def test_websocket_handlers(websockets: ws_programs.Stage, program: Program) -> None:
    assert websockets.problems(program) == []


@example(program=Exchange(setting=Setting((Hook(after="CancelledError"),))))
@example(program=Exchange(patience=6, setting=Setting((Hook(after="stream"),), place="mounted")))
@settings(PROFILE, max_examples=6_000)
@given(program=drawn(http_programs.generate))
def test_http_handlers(exchanges: http_programs.Stage, program: Exchange) -> None:
    assert exchanges.problems(program) == []
