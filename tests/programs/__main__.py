"""Run random programs from a seed: ``python -m tests.programs SEED COUNT [websocket|http]``.

The programs of a seed are always the same, and program N of a run is the only one of ``SEED+N 1``.
"""

# ruff: noqa: T201  # a command line prints

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any

from . import http_programs, ws_programs
from .source import Seeded
from .trial import quiet
from .virtual import VirtualLoop

KINDS: dict[str, Any] = {"websocket": ws_programs, "http": http_programs}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("kind", choices=KINDS, nargs="?", default="websocket")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    began = time.perf_counter()
    bad = run(options.kind, range(options.seed, options.seed + options.count), seen)
    took = time.perf_counter() - began
    for what, times in sorted(seen.items()):
        print(f"{times:10} {what}")
    print(f"{options.count} {options.kind} programs from seed {options.seed}: {bad} bad,", end=" ")
    print(f"{len(seen)} kinds of steps, {options.count / took:.0f} programs/s")
    return 1 if bad else 0


def run(kind: str, seeds: range, seen: Counter[str]) -> int:
    """Run the programs of these seeds, print those that break a rule, and count them."""
    module, unraisable, bad = KINDS[kind], [], 0
    loop = VirtualLoop()
    with quiet(unraisable):
        stage = module.Stage(loop, seen=seen)
        for seed in seeds:
            program = module.generate(Seeded(seed))
            problems = stage.problems(program) + unraisable
            unraisable.clear()
            if problems:
                bad += 1
                print(f"seed {seed}:", *problems, repr(program), sep="\n  ", flush=True)
    loop.close()
    return bad


if __name__ == "__main__":
    sys.exit(main())
