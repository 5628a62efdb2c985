"""Each situation in a WebSocket's life, on every server, against the table in life.toml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.frames import Opcode

from tests.servers.client import Client
from tests.servers.table import LIFE, TABLE, Sight, expected, own_errors, sight
from tests.serving import CONFIGURATIONS, PATIENCE, Server, serve

SITUATIONS, EVIDENCE = TABLE["situations"], TABLE["evidence"]
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[Server]:
    with serve(LIFE, CONFIGURATIONS[name], own_errors=own_errors("situations", name)) as running:
        yield running


Act = Callable[[Client], object]


@dataclass
class Visit:
    """Where a client connects, and what it does before it reads on to the end."""

    path: str
    acts: tuple[Act, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, server: Server, case: str) -> Sight:
        with Client(server, self.path, case, **self.options) as client:
            for act in self.acts:
                act(client)
            return sight(client)


def visit(path: str, *acts: Act, **options: Any) -> Visit:
    return Visit(path, acts, options)


def sends(*parts: str | bytes) -> Act:
    return lambda client: client.send(*parts)


def writes(opcode: Opcode, data: bytes, cut: int | None = None) -> Act:
    return lambda client: client.write(client.frame(opcode, data)[:cut])


def hears(message: str) -> Act:
    def act(client: Client) -> None:
        assert client.receive() == message

    return act


def leaves(code: int | None = None, reason: str = "") -> Act:
    return lambda client: client.accepted and client.leave(code, reason)


def says_goodbye(client: Client) -> None:
    """Send a close frame, and let the handler go on once the server must have read it."""
    client.say_goodbye(4001, "bye")
    for path in ("open_websockets", "open_websockets", f"open_gate/{client.case}"):
        httpx.get(client.server.url + path, timeout=PATIENCE).raise_for_status()


def reads_late(client: Client) -> None:
    """Read 32 messages, but not before all have been sent."""
    client.server.wait_for_log(f"@{client.case} handler: all is sent")
    for _ in range(32):
        assert client.receive() == bytes(MEBIBYTE)
    client.send("that was all")


half_of_a_frame = writes(Opcode.TEXT, b"half of it is never sent", -12)
ready = hears("ready")

VISITS = {
    # the handshake
    "no_such_route": visit("nowhere"),
    "foreign_origin": visit("echo", origin="https://evil.example"),
    "missing_argument": visit("needs/1"),
    "bad_argument": visit("needs/1?name=a&size=big"),
    "bad_segment": visit("needs/one?name=a"),
    "too_many_segments": visit("needs/1/2?name=a"),
    "no_session": visit("me"),
    "hook_refuses": visit("echo", headers={"X-Banned": "yes"}),
    "http_error_before_accept": visit("forbids"),
    "close_before_accept": visit("shuts"),
    "return_before_accept": visit("quiet"),
    "error_before_accept": visit("breaks"),
    "reject": visit("rejects"),
    "accept": visit("greets", subprotocols=["chat"]),
    # the handler ends it
    "return": visit("returns"),
    "error": visit("raises"),
    "http_error": visit("gives_up"),
    **{
        f"close_{code}": visit(f"closes/{code}?reason=why")
        for code in (1000, 1001, 1008, 1011, 3000, 4000, 4999)
    },
    "long_reason": visit("long_reason"),
    # the client ends it
    "leaves_receive": visit("receives", ready, leaves(4001, "bye")),
    "leaves_1001": visit("receives", ready, leaves(1001)),
    "leaves_without_code": visit("receives", ready, leaves()),
    "leaves_send": visit("sends", ready, says_goodbye),
    "leaves_loop": visit("iterates", leaves(4001, "bye")),
    "leaves_until_closed": visit("until_closed", ready, leaves(4001, "bye")),
    "leaves_run": visit("run", ready, leaves(4001, "bye")),
    "vanishes": visit("receives", ready, Client.half_close),
    "reset": visit("receives", ready, Client.reset),
    "vanishes_in_a_message": visit("receives", ready, half_of_a_frame, Client.half_close),
    "reset_in_a_message": visit("receives", ready, half_of_a_frame, Client.reset),
    # messages
    "fragments": visit("messages", sends("on", "e ", "mes", "sage"), leaves(1000)),
    "not_utf8": visit("text", sends(b"\xff")),
    "not_utf8_text": visit("receives", ready, writes(Opcode.TEXT, b"\xff")),
    "bad_json": visit("json", sends("{")),
    "bad_json_caught": visit("json_or_not", sends("{"), sends("[1]")),
    "too_large_text": visit("messages", sends("x" * (MEBIBYTE + 1))),
    "too_large_bytes": visit("messages", sends(b"x" * (MEBIBYTE + 1))),
    "too_large_in_fragments": visit("messages", sends("x" * MEBIBYTE, "x")),
    # misuse
    "misuse_before_accept": visit("misuse_early"),
    "misuse": visit("misuse", hears("still usable"), sends("x")),
    "after_close": visit("after_close"),
}

# What the servers do of their own, without a framework.
RAW = {
    "refusals": visit("raw/refuses"),
    "headers": visit("raw/greets"),
    "codes": visit("raw/closes_1008"),
    "reasons": visit("raw/closes_4000"),
    "answers": visit("raw/receives", ready, leaves(4001, "bye")),
    "peers_code": visit("raw/receives", ready, leaves(4001, "bye")),
    "peers_reason": visit("raw/receives", ready, leaves(4001, "bye")),
    "silent_sends": visit("raw/sends", ready, says_goodbye),
    "lost_is_1005": visit("raw/receives", ready, Client.half_close),
    "invalid_text": visit("raw/receives", ready, writes(Opcode.TEXT, b"\xff")),
    "unbounded": visit("raw/floods", reads_late, read_buffer=4096),
    "limit": visit("raw/receives", ready, sends("x" * (MEBIBYTE + 1))),
}


def test_the_table_is_whole() -> None:
    rows = [*SITUATIONS.values(), *TABLE["shutdown"].values(), *TABLE["load"].values()]
    deviations = [(name, seen) for row in rows for name, seen in row.get("deviations", {}).items()]
    assert SITUATIONS.keys() == VISITS.keys()
    assert {key for key, row in EVIDENCE.items() if "client" in row} == RAW.keys()
    # Each deviation has evidence for that server, and there is no evidence for what does not occur.
    assert {(why, name) for name, seen in deviations for why in seen["why"]} == {
        (why, name) for why, row in EVIDENCE.items() for name in row["servers"]
    }


@pytest.mark.parametrize("situation", SITUATIONS)
def test_situation(server: Server, name: str, situation: str) -> None:
    row = SITUATIONS[situation]
    wanted = expected(row, name)
    assert name not in row.get("deviations", {}) or wanted != expected(row, ""), "this is no deviation"
    assert VISITS[situation](server, situation) == wanted


@pytest.mark.parametrize(
    ("name", "why"),
    [(name, why) for name in CONFIGURATIONS for why in RAW if name in EVIDENCE[why]["servers"]],
    indirect=["name"],
)
def test_without_a_framework_it_is_the_same(server: Server, name: str, why: str) -> None:
    assert RAW[why](server, f"raw_{why}") == expected(EVIDENCE[why], name)
