"""Who is measured: each runs in a process of its own, with the interpreter that runs the benchmarks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Framework:
    """One framework, or one version of it.

    Attributes:
        name: What it is called in tables.
        module: Its app, in ``benchmarks/apps``.
        imports: What the smallest app imports; nothing for the raw app.
        distribution: Its name on the package index; the raw app has none.
        lacks: The app that its module does not have, since it cannot do what a scenario wants.
        path: A directory in which the package is, when it is not the installed one.
    """

    name: str
    module: str
    imports: str
    distribution: str = ""
    lacks: str = ""
    path: Path | None = None

    def environment(self) -> dict[str, str]:
        """The environment of its processes, which is the same for all but for where the package is."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
        if self.path is not None:
            environment["PYTHONPATH"] = str(self.path)
        return environment


RAW = Framework("raw", "raw", "")
MICROPIE = Framework("micropie", "micropie", "micropie", "micropie")
PEERS = (
    Framework("blacksheep", "blacksheep", "blacksheep", "blacksheep"),
    Framework("falcon", "falcon", "falcon.asgi", "falcon", lacks="members"),
    Framework("fastapi", "fastapi", "fastapi", "fastapi"),
    Framework("litestar", "litestar", "litestar", "litestar"),
    Framework("microdot", "microdot", "microdot.asgi", "microdot"),
    Framework("quart", "quart", "quart", "quart"),
    Framework("sanic", "sanic", "sanic", "sanic", lacks="members"),
    Framework(
        "starlette",
        "starlette",
        "starlette.applications, starlette.responses, starlette.routing, starlette.websockets",
        "starlette",
    ),
)


def package(label: str, path: Path) -> Framework:
    """Another version of MicroPie, from a directory that holds it."""
    return Framework(
        label, MICROPIE.module, MICROPIE.imports, MICROPIE.distribution, path=path.resolve(strict=True)
    )
