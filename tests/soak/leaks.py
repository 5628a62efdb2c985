"""Visit one uvicorn process 100,000 times in every way there is, and see whether anything is left of it.

A visit begins a session or comes back to one, sends forms, JSON and uploads, reads streams, talks over WebSockets
and asks for mounted apps. Handlers, hooks and the session store fail. Clients leave at every moment, or stop reading.
In between, when nothing is under way, the process says what it holds. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from tests.soak.visitor import Visitor
from tests.soak.visits import VISITS

SERVER = "--no-access-log --log-level critical"
PATIENCE = 60.0  # Seconds for one visit on a busy machine: a limit against a hang.
AT_ONCE = 8  # How many visitors there are at a time.
SAMPLES = (
    11  # How often the process says what it holds: at the beginning, and after each tenth of the visits.
)
#: How many samples are left out, while caches fill; and how many of the rest, the first and the last, are compared
#: by their medians.
WARM_UP, COMPARED = 2, 3

#: By how much what the process holds may grow, from after the warm-up to the end. Objects are those that the garbage
#: collector knows. Of 100,000 requests 60,000 lie between: 2 MiB are 35 bytes for each, less than a Python object has.
#: A sync handler gets a thread more when all are busy, so there may come to be one for each visitor.
BOUNDS = {
    "resident": 2 * 1024 * 1024,
    "objects": 500,
    "tasks": 0,
    "threads": AT_ONCE,
    "files": 0,
    "sockets": 0,
}


@dataclass
class Sample:
    """What the process held after so many requests and sockets: bytes, and numbers."""

    requests: int
    resident: int
    objects: int
    tasks: int
    threads: int
    files: int
    sockets: int
    sessions: int  # in the store
    begun: int  # since the beginning


def growth(samples: list[Sample]) -> dict[str, float]:
    """By how much the process has grown after the warm-up."""
    warm = samples[WARM_UP:]
    first, last = warm[:COMPARED], warm[-COMPARED:]
    return {
        name: statistics.median(getattr(sample, name) for sample in last)
        - statistics.median(getattr(sample, name) for sample in first)
        for name in BOUNDS
    }


def leaks(samples: list[Sample]) -> list[str]:
    """What has grown by more than its bound, and tasks and sockets that were never done."""
    grown = [name for name, more in growth(samples).items() if more > BOUNDS[name]]
    left = [name for name in ("tasks", "sockets") if any(getattr(sample, name) for sample in samples)]
    return sorted({*grown, *left})


async def measure(requests: int, app: str = "app") -> list[Sample]:
    """Make so many requests and sockets, and ask in between what is left of them."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", *SERVER.split(), "--fd", str(listener.fileno())),
            *("--app-dir", str(Path(__file__).parent), f"leak_apps:{app}"),
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
        try:
            visits, made, samples = cycle(VISITS), 0, [await ask_what_is_left(port, 0)]
            a_round = -(-requests // ((SAMPLES - 1) * sum(VISITS.values()))) * len(VISITS)
            for _ in range(SAMPLES - 1):
                planned = list(islice(visits, a_round))
                await make(planned, port)
                made += sum(VISITS[visit] for visit in planned)
                samples.append(await ask_what_is_left(port, made))
            return samples
        finally:
            server.kill()
            await server.wait()


async def make(planned: list[Callable[[Visitor], Awaitable[None]]], port: int) -> None:
    """Make visits, some at a time."""
    left = iter(planned)

    async def one_after_the_other() -> None:
        for visit in left:
            await on_a_connection(visit, port)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


async def on_a_connection(visit: Callable[[Visitor], Awaitable[Any]], port: int) -> Any:
    async with Visitor.at(port) as visitor, asyncio.timeout(PATIENCE):
        return await visit(visitor)


async def ask_what_is_left(port: int, requests: int) -> Sample:
    _, body = await on_a_connection(lambda visitor: visitor.ask("left"), port)
    return Sample(requests, **json.loads(body))


def show(samples: list[Sample]) -> None:
    names = [*BOUNDS, "sessions", "begun"]
    print(f"{'requests':>9} " + " ".join(f"{name:>10}" for name in names))
    for sample in samples:
        print(f"{sample.requests:9} " + " ".join(f"{getattr(sample, name):10}" for name in names))
    print(f"{'growth':>9} " + " ".join(f"{more:10.0f}" for more in growth(samples).values()))
    print(f"{'at most':>9} " + " ".join(f"{bound:10}" for bound in BOUNDS.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000, help="how many, sockets included (100,000)")
    parser.add_argument("--app", default="app", help="of leak_apps.py (app; leaky keeps everything)")
    parser.add_argument("--json", type=Path, help="write the samples to this file too")
    parser.add_argument("--check", action="store_true", help="fail if the process has grown")
    options = parser.parse_args()
    began = perf_counter()
    samples = asyncio.run(measure(options.requests, options.app))
    show(samples)
    last = samples[-1]
    print(f"{last.requests} requests and sockets, {last.begun} sessions, in {perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=2) + "\n", "utf-8")
    found = leaks(samples)
    if options.check and found:
        print(f"the process has grown: {', '.join(found)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
