"""From what a handler returns to bytes: what HTTP and refused handshakes share."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from micropie import HTTPError
from micropie.response.responses import (
    Answer,
    answer,
    encode_answer,
    encode_chunk,
    error_answer,
    field_list,
    header_list,
)

HTML = (b"content-type", b"text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HTTPError(404), "404 Not Found"),
        (HTTPError(404, "gone fishing"), "404 Not Found: gone fishing"),
        (HTTPError(499), "499"),
        (HTTPError(499, "odd"), "499: odd"),
    ],
)
def test_the_plain_page_of_an_error(error: HTTPError, text: str) -> None:
    page = error_answer(error)
    assert (page.status, page.body) == (error.status, text)
    assert encode_answer(page)[0][0] == (b"content-type", b"text/plain; charset=utf-8")
    assert str(error) == text


@pytest.mark.parametrize("status", [200, 399, 600, 0])
def test_an_http_error_has_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match=f"400 to 599, not {status}"):
        HTTPError(status)


def test_a_named_status_is_a_plain_number_afterwards() -> None:
    assert type(answer((HTTPStatus.CREATED, "")).status) is int


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ((), []),
        ({"X-A": "b"}, [("X-A", "b")]),
        (iter([("X-A", "b"), ("X-A", "c")]), [("X-A", "b"), ("X-A", "c")]),
    ],
)
def test_header_fields_can_come_in_several_forms(given: Any, fields: list[tuple[str, str]]) -> None:
    assert field_list(given) == fields


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ("text", []),
        ({}, [("Content-Type", "application/json")]),
        ((200, {}, {"content-type": "x/y"}), [("content-type", "x/y")]),
    ],
)
def test_a_type_that_is_not_html_stands_among_the_fields(given: Any, fields: list[tuple[str, str]]) -> None:
    assert header_list(answer(given)) == fields


def test_a_stream_has_no_body_yet() -> None:
    assert encode_answer(Answer(200, iter(()))) == ([HTML], None)


@pytest.mark.parametrize("chunk", ["ab", b"ab", bytearray(b"ab"), memoryview(b"ab")])
def test_a_chunk_is_text_or_bytes(chunk: Any) -> None:
    sent = encode_chunk(chunk)
    assert (type(sent), sent) == (bytes, b"ab")


@pytest.mark.parametrize("chunk", [None, 1, ["ab"]])
def test_another_chunk_is_an_error(chunk: Any) -> None:
    with pytest.raises(TypeError, match=f"a stream yields str or bytes, not {type(chunk).__name__}"):
        encode_chunk(chunk)
