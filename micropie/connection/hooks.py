"""The hooks around an HTTP handler: who runs when, and what comes of their answers."""

from __future__ import annotations

from typing import Any

from micropie.concurrency import is_ordinary
from micropie.middleware import Hooks, short_circuit
from micropie.request.request import Request
from micropie.response.responses import Answer, answer

from .errors import answer_to


async def on_headers(request: Request, hooks: Hooks) -> Answer | None:
    """Run the hooks that come before the body is read; the answer of the one that has one."""
    for middleware in hooks.early:
        hook = middleware.on_headers
        early = short_circuit(await hook(request), hook)
        if early is not None:
            return early_answer(early)
    return None


async def after_hooks(request: Request, result: Answer) -> Answer:
    """Run the after hooks that are due, each of them; the answer that they leave."""
    entered = request.x_entered
    while entered:
        middleware = entered.pop()
        try:
            changes = await middleware.after_request(
                request, result.status, result.body, result.shown_headers()
            )
            if changes is not None and short_circuit(changes, middleware.after_request) is not None:
                result = _changed(result, changes)
        except BaseException as error:
            if not is_ordinary(error):
                await after_hooks(request, result)
                raise
            result = await answer_to(request, error)
    return result


def _changed(result: Answer, changes: dict[str, Any]) -> Answer:
    """The answer that a hook has made of one; what it does not name stays."""
    headers = result.headers_behind(changes.get("headers", result.headers))
    status, body = changes.get("status_code", result.status), changes.get("body", result.body)
    if "body" in changes:  # the length was that of the body before; what is known tells its own
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    changed = answer((status, body, headers))
    if not (isinstance(body, (dict, list)) or ("body" in changes and result.default_type is None)):
        # Other headers or an edited text do not turn JSON, or the text of an error, into HTML.
        changed.default_type = result.default_type
    return changed


def early_answer(early: dict[str, Any]) -> Answer:
    """The answer that a hook has given in the handler's place."""
    return answer((early.get("status_code", 200), early.get("body", ""), early.get("headers", ())))
