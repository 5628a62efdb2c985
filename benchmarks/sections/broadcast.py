"""Broadcast: one message to everybody, on uvicorn."""

from __future__ import annotations

from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.processes.children import Failed
from benchmarks.processes.servers import clients, serving
from benchmarks.report import in_a_line
from benchmarks.sections.pairs import Row, compare


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """The CPU time of the server in microseconds, for each of so many sockets that gets a message."""
    rows: dict[str, Row] = {}
    sizes = (100,) if options.quick else (100, 1000)
    with clients(options) as traffic, serving(frameworks, options) as servers:
        for size in sizes:
            able = []
            for name, server in servers.items():
                try:
                    traffic.ask("gather", port=server.port, path="/broadcast", count=size)
                    traffic.ask("broadcast", process=server.process, port=server.port, times=1)
                    able.append(name)
                except Failed as why:
                    options.tell(f"left out: {server.why(why)}")

            def measure(name: str, times: int = max(1, 3000 // size)) -> float:
                server = servers[name]
                order = {"process": server.process, "port": server.port, "times": times}
                spent: float = traffic.ask("broadcast", **order)
                return spent / 1000

            rows[str(size)] = compare(able, measure, options.fewer_rounds)
            options.tell(f"to {size} sockets: {in_a_line(rows[str(size)])}")
            for name in able:
                traffic.ask("disperse", port=servers[name].port)
    titles = {size: f"To {int(size):,} sockets" for size in rows}
    return {"titles": titles, "units": dict.fromkeys(rows, "µs"), "rows": rows}
