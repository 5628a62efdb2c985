"""The other end of `children`: a process that does what each line of its standard input asks for."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TextIO

Command = Callable[..., Coroutine[Any, Any, Any]]


def obey(commands: Mapping[str, Command], processor: int) -> None:
    """Do what each line says, on one processor, until there is none."""
    os.sched_setaffinity(0, {processor})
    # Standard output is for the answers alone: whatever else is printed goes where errors go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        _answer(answers, {"result": "ready"})
        # Between two orders there is nothing to do, not even for the event loop.
        for line in sys.stdin:
            order = json.loads(line)
            answer: dict[str, Any]
            try:
                answer = {"result": runner.run(commands[order.pop("do")](**order))}
            except Exception as error:  # Whatever it is, it is the answer.
                answer = {"error": f"{type(error).__name__}: {error}"}
            _answer(answers, answer)


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop that uvicorn would choose."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
