"""Memory: what an open WebSocket costs on which nothing happens."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.processes.children import Child, Failed, holding
from benchmarks.processes.servers import clients, private_bytes, serving
from benchmarks.report import in_a_line
from benchmarks.sections.pairs import Row, compare, over

FIRST = 200  # The connections before those that are measured, for which a server makes room once and for all.
IN_PROCESS = 500
SETTLE = 0.2  # Seconds for a server to finish what a handshake leaves to do.


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """Bytes for a connection in process, where each is the same, and on a server, where the system's are counted."""
    rows = {"allocated": allocated(frameworks, options)}
    options.tell(f"memory allocated: {in_a_line(rows['allocated'])}")
    with clients(options) as traffic:
        rows["private"] = private(traffic, frameworks, options)
    options.tell(f"memory on uvicorn: {in_a_line(rows['private'])}")
    titles = {"allocated": "What Python allocates", "private": "What the process of the server grows by"}
    return {"titles": titles, "units": dict.fromkeys(rows, "bytes"), "rows": rows}


def allocated(frameworks: list[Framework], options: Options) -> Row:
    """What Python allocates, without a server."""
    with holding(frameworks, options.processor) as children:
        found: dict[str, float] = {}
        for name, child in children.items():
            try:
                found[name] = child.ask("memory", count=IN_PROCESS)
            except Failed as why:
                options.tell(f"left out: {why}")
        return compare(found, found.__getitem__, 1, over)


def private(traffic: Child, frameworks: list[Framework], options: Options) -> Row:
    """What the process grows by, on a server that was started for it."""
    known = {framework.name: framework for framework in frameworks}
    count = 500 if options.quick else 2000

    def measure(name: str) -> float:
        with serving([known[name]], options) as servers:
            server = servers[name]
            traffic.ask("gather", port=server.port, path="/echo", count=FIRST)
            time.sleep(SETTLE)
            before = private_bytes(server.process)
            traffic.ask("gather", port=server.port, path="/echo", count=count)
            time.sleep(SETTLE)
            after = private_bytes(server.process)
            traffic.ask("disperse", port=server.port)
            return (after - before) / count

    return compare(known, measure, 1 if options.quick else 3, over)
