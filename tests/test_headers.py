"""Header fields and cookies, to and from bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest

from micropie import content_disposition, headers
from micropie.headers import decode_headers, encode_headers, find_header
from micropie.request.cookies import format_cookie, parse_cookies


@pytest.mark.parametrize(
    ("fields", "encoded"),
    [
        ([], []),
        ([("X-Name", "value")], [(b"x-name", b"value")]),
        ({"X-Name": "value"}, [(b"x-name", b"value")]),
        ([("A", "1"), ("a", "2")], [(b"a", b"1"), (b"a", b"2")]),
        ([("A", "")], [(b"a", b"")]),
        ([("A", "tab\tand ä")], [(b"a", b"tab\tand \xe4")]),
        ([("!#$%&'*+-.^_`|~09Az", "")], [(b"!#$%&'*+-.^_`|~09az", b"")]),
    ],
)
def test_fields_are_encoded(fields: Any, encoded: list[tuple[bytes, bytes]]) -> None:
    assert encode_headers(fields) == encoded


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "ä", "a\n", "a\r\nb: c", "\0"])
def test_a_name_that_is_no_token_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="not a header name"):
        encode_headers([(name, "value")])


@pytest.mark.parametrize("character", [*map(chr, range(9)), *map(chr, range(10, 32)), "\x7f"], ids=repr)
def test_a_control_character_is_an_error(character: str) -> None:
    for value in (character, f"a{character}b"):
        with pytest.raises(ValueError, match="the header X has control characters"):
            encode_headers([("X", value)])


@pytest.mark.parametrize("value", ["€", "\u2028", "\ud800", "\u010a"])
def test_a_character_outside_latin_1_is_an_error(value: str) -> None:
    with pytest.raises(ValueError, match="the header X has characters outside latin-1"):
        encode_headers([("X", value)])


def test_repeated_fields_are_joined() -> None:
    fields = [(b"Accept", b"a"), (b"accept", b"b"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x", b"\xe4")]
    joined = decode_headers({"headers": fields})
    assert joined == {"accept": "a, b", "cookie": "a=1; b=2", "x": "ä"}


def test_one_field_is_found() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]}
    assert find_header(scope, b"b") == b"2"
    assert find_header(scope, b"c") is None


#: What str.strip() takes off, and a cookie's name must keep: each makes a cookie another one.
ODD = ("\xa0", "\x85", "\x1f", "\x1c", "\x0b", "\x0c")


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;", {"a": "1", "b": "2"}),
        (" a = 1 ; b=2", {"a": "1", "b": "2"}),
        ("a=1=2", {"a": "1=2"}),
        ("a=", {"a": ""}),
        ('a="1"', {"a": "1"}),
        ("a", {}),
        ("a; b=2", {"b": "2"}),
        ("a=first; a=second", {"a": "first"}),
        ("\ta\t=\t1\t", {"a": "1"}),
        *(
            (f"{byte}__Host-a=evil; __Host-a=good", {f"{byte}__Host-a": "evil", "__Host-a": "good"})
            for byte in ODD
        ),
        *(
            (f"__Host-a{byte}=evil; __Host-a=good", {f"__Host-a{byte}": "evil", "__Host-a": "good"})
            for byte in ODD
        ),
        *((f"a={byte}1{byte}", {"a": f"{byte}1{byte}"}) for byte in ODD),
        ('a="1', {"a": '"1'}),
        ('a=1"', {"a": '1"'}),
        ('a="', {"a": '"'}),
        ('a=""', {"a": ""}),
        ('a=""1""', {"a": '"1"'}),
        ("a=\xc3\xa9; \xc3\xbc=1", {"a": "é", "ü": "1"}),
        ("a=\xe9; b=\xc3\xa9", {"a": "é", "b": "é"}),
        ("a=\xc2\xa0", {"a": "\xa0"}),
        ("a=\u20ac", {"a": "€"}),
    ],
)
def test_cookies_are_parsed(header: str, cookies: dict[str, str]) -> None:
    assert parse_cookies(header) == cookies


@pytest.mark.parametrize(
    ("arguments", "cookie"),
    [
        ({}, "n=v; Path=/; HttpOnly; Secure; SameSite=Lax"),
        ({"path": "/a"}, "n=v; Path=/a; HttpOnly; Secure; SameSite=Lax"),
        ({"max_age": 60}, "n=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax"),
        ({"max_age": 0}, "n=v; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"),
        ({"path": "/" + "x" * 1023}, f"n=v; Path=/{'x' * 1023}; HttpOnly; Secure; SameSite=Lax"),
        ({"domain": ".localhost"}, "n=v; Path=/; Domain=.localhost; HttpOnly; Secure; SameSite=Lax"),
        ({"domain": "example.com"}, "n=v; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"),
        ({"secure": False, "httponly": False}, "n=v; Path=/; SameSite=Lax"),
        ({"samesite": "strict"}, "n=v; Path=/; HttpOnly; Secure; SameSite=Strict"),
        ({"samesite": "none"}, "n=v; Path=/; HttpOnly; Secure; SameSite=None"),
        ({"partitioned": True}, "n=v; Path=/; HttpOnly; Secure; SameSite=Lax; Partitioned"),
        (
            {"expires": datetime(2026, 1, 31, 12, tzinfo=UTC), "httponly": False, "secure": False},
            "n=v; Path=/; Expires=Sat, 31 Jan 2026 12:00:00 GMT; SameSite=Lax",
        ),
    ],
)
def test_a_cookie_is_formatted(arguments: dict[str, Any], cookie: str) -> None:
    assert format_cookie("n", "v", **arguments) == cookie


@pytest.mark.parametrize(
    ("name", "value", "arguments", "words"),
    [
        ("", "v", {}, "not a cookie name"),
        ("a b", "v", {}, "not a cookie name"),
        ("a=b", "v", {}, "not a cookie name"),
        ("a;b", "v", {}, "not a cookie name"),
        *(
            ("n", value, {}, "must be encoded first")
            for value in ("a b", "a;b", "a,b", 'a"', "a\\", "ä", "\n")
        ),
        # Browsers ignore such a path or domain, and drop a cookie that is too long.
        *(
            ("n", "v", {"path": path}, "the path of the cookie n begins with a slash")
            for path in ("/;x", "/\r\nX: y", "/ä", "", "x", "../x", "/" + "x" * 1024)
        ),
        *(
            ("n", "v", {"domain": domain}, "the domain of the cookie n is a host name")
            for domain in (
                "a;b",
                "",
                ".",
                "a..b",
                "a.example:8000",
                "https://a.example",
                "a.example.",
                "ä.example",
            )
        ),
        ("n", "v" * 4096, {}, "more than 4096 bytes"),
        ("n", "v", {"samesite": "Lax"}, "samesite is 'lax', 'strict' or 'none', not 'Lax'"),
        ("n", "v", {"samesite": "none", "secure": False}, "only together with secure=True"),
        (
            "n",
            "v",
            {"partitioned": True, "secure": False},
            "a partitioned cookie only together with secure=True",
        ),
        *(
            (
                prefix + "n",
                "v",
                {"secure": False},
                f"browsers accept {prefix}n only together with secure=True",
            )
            for prefix in ("__Host-", "__host-", "__Secure-", "__SECURE-", "__Http-", "__Host-Http-")
        ),
        *(
            (
                prefix + "n",
                "v",
                arguments,
                f"browsers accept {prefix}n only with path='/' and without a domain",
            )
            for prefix in ("__Host-", "__HOST-", "__Host-Http-")
            for arguments in ({"path": "/app"}, {"path": ""}, {"domain": "example.com"}, {"domain": ""})
        ),
        *(
            (prefix + "n", "v", {"httponly": False}, f"browsers accept {prefix}n only with httponly=True")
            for prefix in ("__Http-", "__Host-Http-")
        ),
        ("n", "v", {"expires": datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=1)))}, "UTC"),
    ],
)
def test_a_cookie_that_browsers_would_misread_is_an_error(
    name: str, value: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        format_cookie(name, value, **arguments)


@pytest.mark.parametrize(
    ("filename", "value"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("a b;c=d,e's.txt", """attachment; filename="a b;c=d,e's.txt\""""),
        (
            "r\xe9sum\xe9.pdf",
            "attachment; filename=\"resume.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf",
        ),
        ("\u6587\u66f8.pdf", "attachment; filename=\"__.pdf\"; filename*=UTF-8''%E6%96%87%E6%9B%B8.pdf"),
        ('say "hi".txt', "attachment; filename=\"say _hi_.txt\"; filename*=UTF-8''say%20%22hi%22.txt"),
        ("100%41.txt", "attachment; filename=\"100_41.txt\"; filename*=UTF-8''100%2541.txt"),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("C:\\Users\\me\\a.txt", 'attachment; filename="a.txt"'),
        ("a/..", 'attachment; filename="download"'),
        ("a\r\nSet-Cookie: x=y", 'attachment; filename="aSet-Cookie: x=y"'),
        ("\x00\x1f\x7f\x85\u2028a\u202etxt.exe", 'attachment; filename="atxt.exe"'),
        ("\ud800a.txt", 'attachment; filename="a.txt"'),
        ("  a.txt \t", 'attachment; filename="a.txt"'),
        (".profile", 'attachment; filename=".profile"'),
        ("\uff0e\uff0e", "attachment; filename=\"download\"; filename*=UTF-8''%EF%BC%8E%EF%BC%8E"),
        ("\u2100.txt", "attachment; filename=\"a_c.txt\"; filename*=UTF-8''%E2%84%80.txt"),
        *(
            (empty, 'attachment; filename="download"')
            for empty in ("", " ", ".", "..", "/", "a/", "\\", "\n")
        ),
    ],
)
def test_the_name_of_a_download(filename: str, value: str) -> None:
    """A name in ASCII is sent as it is, any other in UTF-8 beside the nearest one in ASCII; a path is only a name."""
    assert content_disposition(filename) == ("Content-Disposition", value)
    assert content_disposition(filename, inline=True)[1] == value.replace("attachment", "inline", 1)
    assert encode_headers([content_disposition(filename)])


@pytest.mark.parametrize("letter", ["x", "\xe9", "\u6587", "\U0001f967", '"'])
@pytest.mark.parametrize("suffix", ["", ".pdf", ".jpeg"])
def test_a_download_has_no_endless_name(letter: str, suffix: str) -> None:
    """It has at most what a file system holds, in whole characters, and keeps its suffix."""
    value = content_disposition(letter * 10_000 + suffix)[1]
    name = unquote(value.rpartition("filename*=UTF-8''")[2]) if "*=" in value else value.split('"')[1]
    assert 250 <= len(name.encode()) <= 255
    assert name.endswith(suffix)
    assert len(value) < 1100


@pytest.mark.parametrize("filename", [None, 5, b"a.txt", ["a"]])
def test_a_name_is_text(filename: Any) -> None:
    """What is no text is an error that says so."""
    with pytest.raises(TypeError, match="a file name is a str, not"):
        content_disposition(filename)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("X-One", "a", True),
        ("Set-Cookie", "a=b", False),
        ("set-cookie", "a=b", False),
        ("X-Long", "a" * 64, False),
    ],
)
def test_what_is_remembered(name: str, value: str, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short field is encoded once, and no cookie is kept in memory for that."""
    monkeypatch.setattr(headers, "_known", known := {})
    assert (
        encode_headers([(name, value)])
        == encode_headers([(name, value)])
        == [(name.lower().encode(), value.encode())]
    )
    assert ((name, value) in known) is kept


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "_known", known := {})
    for number in range(2000):
        encode_headers([("X-Request-Id", str(number))])
    assert 0 < len(known) <= 512
