"""Where and when it was measured, for whoever reads the figures."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.frameworks import Framework

#: What every framework runs on, beside itself.
GROUND = ("uvicorn", "uvloop", "httptools", "websockets", "orjson")

TELL = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        print("")
"""


def about(frameworks: list[Framework]) -> dict[str, Any]:
    """The machine, the date, and the version of everything that takes part."""
    versions = dict(zip(GROUND, versions_of(GROUND, None), strict=True))
    for framework in frameworks:
        if framework.distribution:
            [versions[framework.name]] = versions_of((framework.distribution,), framework)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} processors, {platform.system()} {kernel()}",
        "python": platform.python_version(),
        "versions": {name: version for name, version in versions.items() if version},
    }


def versions_of(distributions: tuple[str, ...], framework: Framework | None) -> list[str]:
    """The versions that a process of a framework would see; an empty one for what is not there."""
    environment = framework.environment() if framework else None
    told = subprocess.run(
        [sys.executable, "-c", TELL, *distributions],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.split("\n")[:-1]


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text("utf-8")
    found = re.search(r"^model name\s*: (.+)$", lines, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def kernel() -> str:
    """The kernel's version, without what its builder adds."""
    return platform.release().partition("-")[0]


def load_average() -> float:
    """How many processes wanted a processor in the last minute, on average."""
    return round(os.getloadavg()[0], 2)
