"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.frameworks import MICROPIE, PEERS, RAW, Framework, package
from benchmarks.machine import about, load_average
from benchmarks.options import Options
from benchmarks.processes.children import Failed
from benchmarks.scenarios import SCENARIOS
from benchmarks.sections import broadcast, growth, imports, inproc, memory, server

SECTIONS: dict[str, Callable[[list[Framework], Options], dict[str, Any]]] = {
    "inproc": inproc.run,
    "server": server.run,
    "broadcast": broadcast.run,
    "memory": memory.run,
    "imports": imports.run,
    "growth": growth.run,
}
ROUNDS, QUICK_ROUNDS = 31, 12


def main() -> int:
    options = parse()
    known = {framework.name: framework for framework in (RAW, MICROPIE, *options.package, *PEERS)}
    if unknown := set(options.frameworks) - set(known):
        sys.exit(f"no such framework: {', '.join(unknown)}; there are {', '.join(known)}")
    frameworks = [
        one for name, one in known.items() if name == RAW.name or name in (options.frameworks or known)
    ]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # Servers and clients inherit it.
    for section in options.only:
        if options.show:
            results = json.loads((options.show / f"{section}.json").read_text("utf-8"))
        else:
            results = measure(section, frameworks, options)
        print(report.show(results), flush=True)
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            (options.output / f"{section}.json").write_text(as_json(results), "utf-8")
    return 0


def as_json(results: dict[str, Any]) -> str:
    """A file that a diff is readable of: each measurement is a line."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    return re.sub(r"\{[^{}]*\}", lambda one: " ".join(one[0].split()), text) + "\n"


def measure(section: str, frameworks: list[Framework], options: argparse.Namespace) -> dict[str, Any]:
    """One section, with what a reader has to know of how it came about."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    chosen = Options(quick=options.quick, rounds=rounds, scenarios=tuple(options.scenarios))
    results = {"section": section, **about(frameworks), "rounds": rounds, "load_average": [load_average()]}
    began = time.monotonic()
    results |= SECTIONS[section](frameworks, chosen)
    results["load_average"].append(load_average())
    results["seconds"] = round(time.monotonic() - began)
    return results


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections (all)"
    )
    parser.add_argument("--quick", action="store_true", help="a first impression, in about two minutes")
    parser.add_argument("--frameworks", nargs="+", default=[], metavar="NAME", help="these, and raw (all)")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=[], help="these scenarios (all)")
    parser.add_argument("--rounds", type=int, help=f"pairs of measurements ({ROUNDS}; quick: {QUICK_ROUNDS})")
    parser.add_argument(
        "--package",
        action="append",
        type=labelled,
        default=[],
        metavar="LABEL=DIR",
        help="another micropie, in a directory that holds the package; may be repeated",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write DIR/SECTION.json")
    parser.add_argument("--show", type=Path, metavar="DIR", help="show DIR/SECTION.json, and measure nothing")
    return parser.parse_args()


def labelled(argument: str) -> Framework:
    """LABEL=DIR as a framework."""
    label, equals, path = argument.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("give LABEL=DIR")
    if not Path(path).is_dir():
        raise argparse.ArgumentTypeError(f"no such directory: {path}")
    return package(label, Path(path))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as why:
        sys.exit(str(why))
