"""Import: what a process has to do and to hold before it can answer anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.report import in_a_line
from benchmarks.sections.pairs import compare, over

#: What is said about an interpreter that has imported something.
WHAT = {"time": "ms", "memory": "MiB", "modules": "modules"}

PROGRAM = """
import sys
{statement}
status = open("/proc/self/status").read()
print(status.partition("VmRSS:")[2].split()[0], len(sys.modules))
"""


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """CPU time, memory and number of modules, over an interpreter that imports nothing."""
    known = {framework.name: framework for framework in frameworks}
    rows = {}
    with tempfile.TemporaryDirectory() as cache:
        for (
            name,
            framework,
        ) in known.items():  # Compiles what is imported, as pip does when it installs a package.
            start(framework, options, Path(cache) / name)
        for what in WHAT:
            rounds = options.fewer_rounds if what == "time" else 1  # The others hardly vary.

            def measure(name: str, what: str = what) -> float:
                return start(known[name], options, Path(cache) / name)[what]

            rows[what] = compare(known, measure, rounds, over)
            options.tell(f"import, {what}: {in_a_line(rows[what])}")
    titles = {"time": "CPU time", "memory": "Memory", "modules": "Modules"}
    return {"titles": titles, "units": WHAT, "rows": rows}


def start(framework: Framework, options: Options, cache: Path) -> dict[str, float]:
    """Start an interpreter that imports a framework, and see what that takes."""
    statement = f"import {framework.imports}" if framework.imports else ""
    environment = framework.environment() | {"PYTHONPYCACHEPREFIX": str(cache)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        output = cast("IO[str]", process.stdout).read()
        _, status, used = os.wait4(process.pid, 0)  # Unlike wait(), it tells what the process used.
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, statement)
    kibibytes, modules = map(int, output.split())
    return {
        "time": (used.ru_utime + used.ru_stime) * 1000,
        "memory": kibibytes / 1024,
        "modules": modules,
    }
