"""Exceptions keep their data, and build their text from it."""

from __future__ import annotations

import pickle
from http import HTTPStatus
from typing import Any

import pytest

from micropie import ConnectionClosed, HTTPError
from micropie.exceptions import status_line


@pytest.mark.parametrize(
    ("arguments", "code", "reason", "text"),
    [
        ((), 1005, "", "1005"),
        ((1001,), 1001, "", "1001"),
        ((4000, "bye"), 4000, "bye", "4000 bye"),
    ],
)
def test_a_closed_connection_has_code_and_reason(arguments: Any, code: int, reason: str, text: str) -> None:
    closed = ConnectionClosed(*arguments)
    assert (closed.code, closed.reason, str(closed)) == (code, reason, text)


def test_an_http_error_has_status_detail_and_headers_of_its_own() -> None:
    headers = [("Retry-After", "5")]
    error = HTTPError(503, "later", headers)
    assert (error.status, error.detail, error.headers) == (503, "later", headers)
    assert error.headers is not headers


@pytest.mark.parametrize("status", [None, "404", 40.4, 200, 600, True])
def test_a_status_that_is_none_is_told(status: Any) -> None:
    with pytest.raises(ValueError, match="HTTPError needs a status from 400 to 599, not"):
        HTTPError(status)


@pytest.mark.parametrize(
    ("status", "line"), [(404, "404 Not Found"), (HTTPStatus.NOT_FOUND, "404 Not Found"), (499, "499")]
)
def test_a_status_line(status: int, line: str) -> None:
    assert status_line(status) == line


@pytest.mark.parametrize("error", [HTTPError(404, "x", [("A", "b")]), ConnectionClosed(4000, "bye")])
def test_an_exception_can_be_sent_to_another_process(error: Any) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy)) == (type(error), vars(error))
