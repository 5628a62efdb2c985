"""What comes of 1,190 calls is what came of them in 0.32, or stands on the page "Differences from 0.32".

``seen-0.32.json`` holds what version 0.32 did; ``tox -e compat`` asks it again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.calls import CALLS

HERE = Path(__file__).parent
BEFORE: dict[str, Any] = json.loads((HERE / "seen-0.32.json").read_text(encoding="utf-8"))
PAGE = (HERE.parents[1] / "docs" / "differences.rst").read_text(encoding="utf-8")

#: Which line of the page explains that a call does otherwise: the line, and the calls that it is about.
EXPLAINED: list[tuple[str, str]] = [
    ("Path segments for keyword-only parameters", r"route: GET /only/a$"),
    ("Path segments for keyword-only parameters", r"socket: /only/p$"),
    (
        "More segments than the handler can take",
        r"route: GET /(hello/a|hello/a/b|greet/Alice/more|pair/1/2/3|named/a|hello//|greet//Alice)$",
    ),
    ("More segments than the handler can take", r"socket: /greet/A/more$"),
    ("More segments than the handler can take", r"fallback(| to one): GET /(a/b|known/a)$"),
    ("A slash at the end", r"(route|fallback|socket): (GET )?/(index|greet|many|many/a/b|a)/$"),
    ("A slash in a segment, sent as ``%2F``", r"(route|socket): (GET )?/greet/a%2Fb$"),
    ("Several slashes at the start", r"(route|fallback.*|socket): (GET )?//+(hello|a|greet)$"),
    ("``/index`` with more segments", r"fallback.*: GET /index/a$"),
    ("What is a route", r"(route: GET /call|instance: GET /(made|Nested))$"),
    ("A root path", r"scope: GET .* root_path="),
    ("``ws_index``", r"socket: /?$"),
    ("Annotations", r"annotation: "),
    ("A blank value, as in ``?name=``", r"query: .*(name=?|[?]a=?|&a=)$"),
    ("A blank value, as in ``?name=``", r"form: .*body=b'(a|a=|name=)'$"),
    ("A blank value, as in ``?name=``", r"socket: /greet[?]name=$"),
    ("More than 1,000 parameters in a query string", r"limit: 1001 query parameters"),
    ("Arguments from the session", r"session: /whoami for a (visitor|quoted id)$"),
    ("Repeated header fields", r"header: .*(x-a', '2'|Cookie', 'b=2')"),
    ("Header fields that are not UTF-8", r"header: .*('é'|b'.xff')"),
    ("Cookies", r"_parse_cookies: "),
    (
        "A handler that returns ``None``",
        r"(result|result of HEAD|after hook sees): (None|a triple with None)$",
    ),
    ("A handler that returns ``None``", r"(before|after) hook.*: None as body$"),
    (
        "Other types of results",
        (
            r"(result|result of HEAD|after hook sees): (set|decimal|object|four"
            r"|status .*|class|range|frozenset|generator of ints)$"
        ),
    ),
    ("The bodies of 204 and 304", r"(result|result of HEAD|after hook sees): status (204|304) with a body$"),
    ("Spaces around a header value", r"(result|result of HEAD|after hook sees): header with edges$"),
    (
        "The content type in an after hook",
        r"(before|after) hook|hooks around |after hook sees: |hook (chooses|sets) ",
    ),
    ("Text that cannot be decoded", r"route: GET /greet/%FF$"),
    (
        "Methods other than GET, HEAD, POST, PUT, PATCH and DELETE",
        r"method(| told): (OPTIONS|TRACE|BREW|get|) /",
    ),
    ("JSON with and without orjson", r"json: .*12345678901234567890123"),
    ("The content type of JSON", r"(result|result of HEAD|after hook sees): content type of JSON$"),
    (
        "Header values with control characters",
        (
            r"(result|result of HEAD|after hook sees): header (with a line break"
            r"|with NUL|name with a space)$"
        ),
    ),
    (
        "Header values that latin-1 cannot hold",
        r"(result|result of HEAD|after hook sees): header beyond latin-1$",
    ),
    ("The ``Location`` of a redirect", r"redirect: "),
    ("Templates that are no HTML or XML by their name", r"template: .*mail.txt$"),
    (
        "Bodies without a content type",
        (
            r"media type: POST /formed headers=({}|.*'(text/plain|text/json"
            r"|application/octet-stream|nonsense|)'})"
        ),
    ),
    ("Bodies that are read", r"(form|json): DELETE /(formed|jsoned) |media type: .*ld.json"),
    ("An empty body with a media type", r"json: .* body=b''$"),
    ("Form fields over 1 MiB", r"limit max_form_field_size=2: "),
    ("JSON bodies over 1 MiB", r"limit: JSON of 2 MiB"),
    ("Forms with more than 1,000 fields", r"limit: 1001 fields"),
    ("A body that the client cut short", r"form: .* leave=True$"),
    ("Text that cannot be decoded", r"form: .*(xff|%FF)|query: .*%FF|template: /[?]who=é$"),
    (
        "Text that cannot be decoded",
        r"multipart.*: not UTF-8$|multipart, byte by byte: UTF-8$",
    ),
    ("The fields of a multipart form", r"multipart.*: all fields$"),
    ("Several files under one name", r"multipart.*: two files of one name$"),
    ("UUIDs in upper case", r"session: upper case$"),
    ("A session in the scope", r"session: from the scope$"),
    ("The session cookie", r"session: .*|hooks around /session_write|hook sets the session"),
    ("The session cookie", r"socket: session id '0f"),
    ("The cookie of a WebSocket", r"socket session: "),
    ("``ws.session_id`` of a stranger", r"socket session: /told for a stranger"),
    ("A session that a WebSocket begins after ``accept()``", r"socket session: /writes/after for a stranger"),
    ("What ``InMemorySessionBackend`` returns", r"InMemorySessionBackend: changed"),
    ("The attributes of ``InMemorySessionBackend``", r"InMemorySessionBackend: [.]"),
    ("What a hook returns", r"(before|after) hook.*: (False|0)$|(second )?socket hook: False$"),
    ("When after hooks run", r"before hook of the second: |hooks around /(none|need|fails)"),
    ("When after hooks run", r"socket hooks around|second socket hook"),
    (
        "A handler that a hook chooses and that does not exist",
        r"hook chooses no handler|(second )?socket hook: no handler",
    ),
    ("A ``dict`` as the body of a hook's answer", r"(before|after) hook.*: JSON$|hook reads the (form|JSON)"),
    (
        "Numbers, ``None`` and ``bytearray`` in after hooks",
        r"after hook sees: (True|int|float|bytearray|memoryview|a triple without headers)$",
    ),
    ("A stream in an after hook", r"after hook sees: .*(generator|iterator|map|status and generator)$"),
    ("Apps that a hook chooses with ``_subapp``", r"sub app"),
    (
        "How a handshake is refused",
        (
            r"socket: /(none|_ws_private|ws_echo|ws_private|need|by_key|nothing"
            r"|fails|sends_first|receives_first|plain|request|env)$"
        ),
    ),
    ("How a handshake is refused", r"(second )?socket hook: (code|code and reason|other keys|an error)$"),
    ("How a handshake is refused", r"socket: session id 'odd id'"),
    ("An empty ``session_id`` for ``accept()``", r"socket: session id ''"),
    ("A handler that never accepts", r"socket: /(silent|refuses)$"),
    (
        "A handler that returns without closing",
        (
            r"socket: /returns|(second )?socket hook: (None|an empty dict"
            r"|another handler|a private handler)$"
        ),
    ),
    ("The reason after an error", r"socket: /(fails_later|accepts_twice)$"),
    ("Sending after the end", r"socket: /sends_late$"),
    ("Close codes that must not be sent", r"socket: /closes/(99|1005)$"),
    ("``ws.session_id`` of a stranger", r"socket: /told"),
    ("``ws.accepted`` after the end", r"socket: /accepted$"),
    ("``ws.receive`` and ``ws.send``", r"socket: /raw"),
    (
        "Bytes that are not UTF-8 where a text is expected",
        r"socket: /(echo|catches) gets bytes that are not UTF-8",
    ),
    ("What ``ConnectionClosed`` says", r"socket: /catches|socket: the client leaves"),
    ("Messages over 1 MiB", r"socket: a message of 2 MiB"),
    ("Subprotocols that were not offered", r"socket: subprotocol"),
    ("Foreign origins", r"socket: origin"),
    ("Shutdown handlers after a startup that failed", r"lifespan: a startup fails"),
    ("Shutdown handlers after one that failed", r"lifespan: a shutdown fails"),
    ("Scopes of an unknown type", r"lifespan: another scope"),
    ("Types of settings", r"setting: "),
    ("Names that were not documented", r"name: "),
    ("``Request(scope)``", r"(WebSocket)?Request[(]scope[)]"),
    ("Abstract base classes of middleware", r"(Http|WebSocket)Middleware[(][)]"),
]

#: What 0.32 did not do at all: it raised, hung, or sent what no server takes.
CRASHED = re.compile(r"raises \w+|\"hangs\"|\"raises\"")


def an_error_page(result: Any) -> bool:
    return isinstance(result, dict) and isinstance(result.get("status"), int) and result["status"] >= 400


def same(before: Any, now: Any) -> bool:
    """Whether two results are the same but for the look of an error page, about which the page says enough."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return all(map(same, before, now))
    if an_error_page(before) and an_error_page(now):
        return bool(before["status"] == now["status"])
    return bool(before == now)


def failed(before: Any) -> bool:
    """Whether no app can have relied on it: it crashed, or was refused and is served now."""
    return (
        CRASHED.search(json.dumps(before)) is not None
        or an_error_page(before)
        or "startup.failed" in str(before)
    )


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    """What comes of the calls today."""
    done = subprocess.run([sys.executable, HERE / "calls.py"], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_they_are_the_calls_that_were_asked() -> None:
    assert list(BEFORE) == list(CALLS)
    assert len(CALLS) > 1000


def test_each_difference_is_explained(now: dict[str, Any]) -> None:
    """No call does otherwise without a line on the page, except those that failed before."""
    different = [name for name in CALLS if not same(BEFORE[name], now[name]) and not failed(BEFORE[name])]
    unexplained = [
        f"{name}\n  0.32: {BEFORE[name]}\n  now:  {now[name]}"
        for name in different
        if not any(re.match(pattern, name) for _, pattern in EXPLAINED)
    ]
    assert not unexplained, "\n".join(unexplained)


@pytest.mark.parametrize(
    ("term", "pattern"), EXPLAINED, ids=[f"{term}-{n}" for n, (term, _) in enumerate(EXPLAINED)]
)
def test_each_explanation_is_needed(now: dict[str, Any], term: str, pattern: str) -> None:
    """An explanation names a line of the page, and at least one call that does otherwise."""
    assert f"\n{term}\n   *0.32:*" in PAGE
    about = [name for name in CALLS if re.match(pattern, name)]
    assert any(not same(BEFORE[name], now[name]) for name in about), about
