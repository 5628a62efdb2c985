"""The table of what client and handler see, life.toml, and the same as it is seen on a running server."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeAlias

from tests.servers.client import Client
from tests.serving import Server, tracebacks

LIFE = Path(__file__).parent / "life"
TABLE: dict[str, dict[str, Any]] = tomllib.loads((LIFE.parent / "life.toml").read_text("utf-8"))

COLUMNS = ("client", "handler", "log")

#: What is seen, by the name of the column: a line for each thing, in the order in which they come.
Sight: TypeAlias = dict[str, list[str]]


def expected(row: dict[str, Any], name: str) -> Sight:
    """What is to be seen on a server: the row's columns, or in their place those of the server's deviation."""
    deviation = row.get("deviations", {}).get(name, {})
    seen = {column: deviation.get(column, row.get(column, [])) for column in COLUMNS}
    return seen | {"own_errors": row.get("own_errors", {}).get(name, [])}


def own_errors(kind: str, name: str) -> set[str]:
    """How the tracebacks end that a server may write of its own."""
    return {line for row in TABLE[kind].values() for line in expected(row, name)["own_errors"]}


def sight(client: Client) -> Sight:
    """Read on to the end of a connection, and tell what is seen of it on both sides."""
    client_sees = seen_by(client)
    client.server.wait_for_log(f"@{client.case} over\n")
    errors = tracebacks(client.server.log()[client.log_start :])
    return {"client": client_sees, **lines_of(client.server, client.case), "own_errors": errors}


def seen_by(client: Client) -> list[str]:
    """What a client sees, to the end of its connection."""
    response = client.response
    status = _with(f"HTTP {response.status_code}", bytes(response.body or b"").decode())
    seen = [] if client.accepted else [status]
    shown = [header for header in ("X-Extra", "Sec-WebSocket-Protocol") if header in response.headers]
    seen += [f"{header}: {response.headers[header]}" for header in shown]
    if client.accepted:
        seen += [f"message: {message}" for message in client]
        code, reason = client.close or (None, "")
        seen.append(_with(f"close {code}", reason) if code else "no close frame")
    return seen


def lines_of(server: Server, case: str) -> Sight:
    """What the handler of a case saw, and what the framework logged."""
    start = f"@{case} "
    log = server.log().replace(f":{server.port}", ":8000").splitlines()
    lines = [line.removeprefix(start) for line in log if line.startswith(start)]
    return {
        "handler": [line.removeprefix("handler: ") for line in lines if line.startswith("handler: ")],
        "log": [line for line in lines if not line.startswith("handler: ") and line != "over"],
    }


def _with(what: str, text: str) -> str:
    return f"{what}: {text}" if text else what
