"""On a server: what users see, on uvicorn with uvloop and httptools.

The server and its clients have a processor each. What counts is the CPU time of the server, as the scheduler counts
it: the clients' own does not matter as long as they keep up.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.processes.children import Child, Failed
from benchmarks.processes.servers import Server, clients, serving
from benchmarks.report import in_a_line
from benchmarks.scenarios import SCENARIOS
from benchmarks.sections.pairs import Row, compare

CONNECTIONS = 32
QUICK = ("ws_session", "ws_message", "http_text", "http_json")


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """Each scenario with each framework."""
    rows: dict[str, Row] = {}
    names = options.scenarios or (QUICK if options.quick else SCENARIOS)
    with clients(options) as traffic:
        for app, of_app in groupby(names, lambda name: SCENARIOS[name].app):
            with serving(frameworks, options, app) as servers:
                for name in of_app:
                    rows[name] = row(traffic, servers, options, name)
                    options.tell(f"on uvicorn, {name}: {in_a_line(rows[name])}")
    titles = {name: SCENARIOS[name].title for name in rows}
    return {"titles": titles, "units": dict.fromkeys(rows, "µs"), "rows": rows}


def row(traffic: Child, servers: dict[str, Server], options: Options, scenario: str) -> Row:
    """The CPU time of one operation in microseconds, with each framework that answers right."""

    def measure(name: str, seconds: float = options.seconds) -> float:
        server = servers[name]
        order = {"process": server.process, "port": server.port, "connections": CONNECTIONS}
        spent: float = traffic.ask("measure", scenario=scenario, seconds=seconds, **order)
        return spent / 1000

    able = []
    for name, server in servers.items():
        try:
            measure(name, 0.05)
        except Failed as why:
            options.tell(f"left out of {scenario}: {server.why(why)}")
        else:
            able.append(name)
    return compare(able, measure, options.fewer_rounds)
