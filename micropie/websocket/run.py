"""Jobs of one WebSocket that run at once and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeAlias

from micropie.concurrency import all_done, uninterrupted
from micropie.exceptions import ConnectionClosed

from .wire import CONNECTING, OPEN, Wire

Jobs: TypeAlias = tuple[Coroutine[Any, Any, Any], ...]


async def run_jobs(wire: Wire, jobs: Jobs) -> None:
    """Run jobs until one of them ends or the client goes; see :meth:`~micropie.WebSocket.run`."""
    _check(wire, jobs)
    tasks = [asyncio.create_task(job) for job in jobs]
    everything = [*tasks, asyncio.create_task(wire.x_departure())]
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in everything:
            task.cancel()
        await uninterrupted(all_done(everything))
    ended = [task for task in everything if not task.cancelled()]
    errors = [error for task in ended if (error := task.exception()) is not None]
    for error in errors:
        if not isinstance(error, ConnectionClosed):
            raise error
    if not any(task in tasks and task.exception() is None for task in ended):
        wire.x_expect(OPEN)
        for error in errors:  # another WebSocket's, to which a job has sent
            raise error


def _check(wire: Wire, jobs: Jobs) -> None:
    wrong = [job for job in jobs if not asyncio.iscoroutine(job)]
    if jobs and not wrong and wire.x_state is not CONNECTING:
        return
    for job in jobs:
        if asyncio.iscoroutine(job):
            job.close()  # else Python warns that it was never awaited
    if wrong:
        raise TypeError(f"run() takes coroutines, such as reader(), not {wrong[0]!r}")
    if not jobs:
        raise ValueError("run() needs at least one coroutine")
    wire.x_expect(OPEN)
