"""Random programs: whatever a handler does, what is sent is legal, and it ends.

They are made from seeds, which is four times as fast as to let Hypothesis choose.  Once one breaks a rule, Hypothesis
looks for others with the same generator, and prints the smallest.  ``python -m tests.programs`` runs many more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from . import http_programs, ws_programs
from .http_programs import Exchange
from .source import Seeded, Source, drawn
from .trial import Hook, Setting, Step, quiet
from .virtual import VirtualLoop
from .ws_programs import Program

#: Always the same examples: a failure in CI is one that everybody gets.
PROFILE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    with quiet():
        yield loop
    loop.close()


def hold(stage: Any, generate: Callable[[Source], Any], count: int, *found_once: Any) -> None:
    """Hold what was found once, and so many random programs, to every rule; show the smallest that breaks one."""
    for program in found_once:
        assert stage.problems(program) == [], program
    for seed in range(count):
        program = generate(Seeded(seed))
        if problems := stage.problems(program):
            break
    else:
        return

    @settings(PROFILE, max_examples=count)
    @given(smallest=drawn(generate))
    def shrink(smallest: Any) -> None:
        assert stage.problems(smallest) == []

    try:
        shrink()
    except AssertionError as error:
        error.add_note(f"It was looked for since the program of seed {seed} has {problems}: {program!r}")
        raise
    pytest.fail(
        f"the program of seed {seed} has {problems}, and Hypothesis finds no smaller one: {program!r}"
    )


ACCEPT = Step("accept", "plain")


def test_websocket_handlers(loop: VirtualLoop) -> None:
    hold(
        ws_programs.Stage(loop),
        ws_programs.generate,
        14_000,
        Program((ACCEPT, Step("run", parts=((),))), setting=Setting((Hook(),), cancels=(17,))),
        Program((ACCEPT,), setting=Setting(cookie="known", place="chosen")),
        Program(setting=Setting(place="mounted", send_fails=1, failure="Exception")),
    )


def test_http_handlers(loop: VirtualLoop) -> None:
    hold(
        http_programs.Stage(loop),
        http_programs.generate,
        6_000,
        Exchange(setting=Setting((Hook(after="CancelledError"),))),
        Exchange(patience=6, setting=Setting((Hook(after="stream"),), place="mounted")),
    )
