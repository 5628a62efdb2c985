"""The hooks around an HTTP handler: who runs when, and what comes of their answers."""

from __future__ import annotations

from typing import Any

from micropie.concurrency import is_ordinary
from micropie.headers import field_list
from micropie.middleware import HttpMiddleware, short_circuit
from micropie.request.request import Request
from micropie.response.responses import Answer, answer, default_field

from .errors import answer_to


async def on_headers(request: Request) -> Answer | None:
    """Run the hooks that come before the body is read; the answer of the one that has one."""
    for middleware in request._app.middlewares:
        hook = getattr(middleware, "on_headers", None)  # optional, also for one that is no HttpMiddleware
        early = None if hook is None else short_circuit(await hook(request), hook)
        if early is not None:
            return _early_answer(early)
    return None


def look_before(middlewares: list[HttpMiddleware]) -> bool:
    """Whether there is a hook that can look at the body before the handler is found."""
    for middleware in middlewares:  # any() would cost more than all the rest
        if getattr(middleware.before_request, "__func__", None) is not HttpMiddleware.before_request:
            return True
    return False


async def before_hooks(request: Request) -> Answer | None:
    """Run the hooks that come before the handler; the answer of the one that has one."""
    request._entered = []
    request._marked = True
    for middleware in request._app.middlewares:
        hook = middleware.before_request
        early = short_circuit(await hook(request), hook)
        if early is not None:
            return _early_answer(early)
        request._entered.append(middleware)
    return None


async def after_hooks(request: Request, result: Answer) -> Answer:
    """Run the after hooks that are due, each of them; the answer that they leave."""
    while request._entered:
        try:
            result = await _after_hook(request, request._entered.pop(), result)
        except BaseException as error:
            if not is_ordinary(error):
                await after_hooks(request, result)
                raise
            result = await answer_to(request, error)
    return result


async def _after_hook(request: Request, middleware: HttpMiddleware, result: Answer) -> Answer:
    hook = middleware.after_request
    default = default_field(result)
    headers = field_list(result.headers)
    if default is not None:  # for the hook to see; what the answer is at the end says whether it is sent
        headers.append(default)
    changes = short_circuit(await hook(request, result.status, result.body, headers), hook)
    if changes and "headers" in changes:
        headers = field_list(changes["headers"] or ())
    if default in headers:
        headers = [field for field in headers if field != default]
    if not changes:
        return Answer(result.status, result.body, headers, result.default_type)
    status, body = changes.get("status_code", result.status), changes.get("body", result.body)
    if "body" in changes:  # the length was that of the body before; what is known tells its own
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    changed = answer((status, body, headers))
    if isinstance(body, (dict, list)) or ("body" in changes and result.default_type is None):
        return changed
    # Other headers or an edited text do not turn JSON, or the text of an error, into HTML.
    return changed._replace(default_type=result.default_type)


def _early_answer(early: dict[str, Any]) -> Answer:
    return answer((early.get("status_code", 200), early.get("body", ""), early.get("headers", ())))
