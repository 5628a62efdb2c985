"""What becomes of an error: the page that the client gets, and what the log says."""

from __future__ import annotations

import logging
import traceback
from typing import Any, Protocol

from micropie.exceptions import HTTPError, MultipartFileError, the_one
from micropie.headers import field_list
from micropie.request.request import Request
from micropie.response.responses import TEXT, Answer, answer, encode_answer, error_answer

logger: logging.Logger = logging.getLogger("micropie")


class Paged(Protocol):
    """What an app is here: who makes a page for an error status."""

    async def _error_page(self, status: int, detail: str) -> Any: ...


async def answer_to(request: Request, error: BaseException) -> Answer:
    """The page for an error.  What a handler changed in the session before an unexpected one is dropped."""
    error = the_one(error)
    if isinstance(error, MultipartFileError) and isinstance(error.cause, HTTPError):
        error = error.cause
    if isinstance(error, HTTPError):
        return await error_page(request.x_app, error)
    if request.x_view is not None:
        request.x_view.discard()
    logger.error("error while answering %s", request.x_shown_path, exc_info=error)
    if request.x_app.debug:
        return Answer(500, "".join(traceback.format_exception(error)), default_type=TEXT)
    return await error_page(request.x_app, HTTPError(500))


async def error_page(app: Paged, error: HTTPError) -> Answer:
    """The app's page for an error status; the plain one if making it fails."""
    try:
        made = await app._error_page(error.status, error.detail)
        if made is None:
            page = error_answer(HTTPError(error.status, error.detail))
        else:
            page = answer(made if isinstance(made, tuple) else (error.status, made))
        page.headers = field_list(page.headers) + error.headers
        encode_answer(page)
    except Exception:
        logger.exception("error in _error_page() for %s", error)
        page = error_answer(HTTPError(error.status))
    return page
