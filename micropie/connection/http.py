"""One HTTP request, from its scope to the answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from micropie.concurrency import is_ordinary, uninterrupted
from micropie.exceptions import HTTPError
from micropie.headers import clean_headers, encode_headers, sound_length
from micropie.request.origins import check_host
from micropie.request.parsed_body import Contents
from micropie.request.request import Request, enter_request, leave_request
from micropie.response.responses import (
    NO_BODY,
    Answer,
    Measured,
    answer,
    check_status,
    declared_length,
    encode_answer,
    encoder_of,
)
from micropie.routing.mounts import find_mount, one_spelling
from micropie.routing.routes import Handler
from micropie.sessions.visit import prepare_session, save_before_answer, vary
from micropie.types import ASGIApp, Message, Receive, Scope, Send

from .errors import answer_to
from .hooks import after_hooks, before_hooks, look_before, on_headers
from .lifespan import serve_lifespan
from .streams import Stream
from .websocket import serve_websocket

if TYPE_CHECKING:
    from micropie.app import App
    from micropie.concurrency import Watch
    from micropie.core import Core
    from micropie.request.uploads import MultipartForm
    from micropie.sessions.view import SessionView

logger: logging.Logger = logging.getLogger("micropie")

#: Header fields that say that there is more to do than to call a handler.
_TELLING = frozenset((b"cookie", b"content-length", b"transfer-encoding"))


async def serve_http(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one ASGI connection: a request here, what is not HTTP where it belongs.

    Raises:
        ValueError: For a scope that is neither HTTP, WebSocket nor lifespan.
    """
    kind = scope["type"]
    if kind != "http":
        await (serve_websocket if kind == "websocket" else serve_lifespan)(app, scope, receive, send)
        return
    request = Request(app, scope, receive, send)
    token = enter_request(request)
    result: Any
    try:
        try:
            core = app._micropie
            routes = core.http_routes
            more = _asks_for_more(app, core, scope)
            result = handler = (
                await _prepare(request)
                if more
                else routes.by_path.get(scope["path"]) or routes.by_segments(request)
            )
            if isinstance(handler, Handler):
                if request._form is not None or not handler.direct:
                    result = await _call(request, handler)
                elif handler.simple and not request._segments:
                    result = await handler.call()
                else:
                    result = await handler.plan.apply(handler.call, request, [])
                encode = encoder_of(type(result))
                if encode is None or request._marked:
                    result = await _examine(request, handler, result)
                else:
                    result = encode(result)
        except BaseException as error:
            result = await _failure(request, error)
        if type(result) is Answer:
            await _send_answer(request, result)
        elif result is not None:
            request._sealed = True
            await send({"type": "http.response.start", "status": 200, "headers": result[0]})
            await send(
                {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else result[1]}
            )
    except OSError:  # a handler's own is answered, so this is send()'s word for "the client left"
        logger.debug("the client of %s has left", request._shown_path, exc_info=True)
    finally:
        try:
            if request._stream is not None or request._form is not None:
                await _close(request)
        finally:
            leave_request(token)


def _asks_for_more(app: App, core: Core, scope: Scope) -> bool:
    """Whether there is more to do for a request than to call a handler with what its URL says."""
    if (
        scope["method"] != "GET"
        or not core.plain
        or app.middlewares
        or ("root_path" in scope and scope["root_path"])  # noqa: RUF019  # PERF: get() is a call
        or "session" in scope
    ):
        return True
    for name, _ in scope["headers"]:  # noqa: SIM110  # any() would cost more than all the rest
        if name in _TELLING:
            return True
    return False


async def _prepare(request: Request) -> Handler | Answer | None:
    """Do all that comes before the handler: host, session, hooks, body.

    Returns:
        The handler whose turn it is; the answer of a hook in its place; None if a mounted app has answered.
    """
    app, scope = request._app, request.scope
    core = app._micropie
    chosen: str | None = None
    if not core.begun:
        core.begin()
    if "root_path" in scope and scope["root_path"]:  # noqa: RUF019  # PERF: get() is a call
        scope = request.scope = one_spelling(scope)
    fields = dict(scope["headers"])  # far cheaper than to look for one after the other
    if core.allowed_hosts:
        check_host(scope, core.allowed_hosts)
    cookie = b"cookie" in fields
    if cookie or "session" in scope or core.mounts:
        await prepare_session(request, cookie=cookie)
    brings = scope["method"] != "GET" or b"content-length" in fields or b"transfer-encoding" in fields
    if app.middlewares or core.mounts:
        early = await _run_hooks(request, brings)
        if early is not None or request._started:
            return early
        chosen = request._route_handler
    handler = core.http_routes.find(request, chosen)
    # Whether somebody takes it comes before what is wrong with it.
    if scope["method"] not in handler.allowed or (brings and (request._segments or app.middlewares)):
        if request.method == "OPTIONS" and "OPTIONS" not in handler.allowed:
            handler.plan.check(request.path_params)
            return Answer(204, b"", handler.allow)
        handler.check(request)
    if brings:
        if request._contents is None:
            request._contents = Contents(scope["method"], fields, request._receive, core.limits)
        request._form = await request._contents.read()
    return handler


async def _failure(request: Request, error: BaseException) -> Answer | None:
    """The answer to an error; None if a mounted app had begun to answer."""
    if not is_ordinary(error):
        await after_hooks(request, Answer(500, ""))
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    if request._started:
        logger.error(
            "the app mounted for %s failed while it was answering", request._shown_path, exc_info=error
        )
        return None
    return await answer_to(request, error)


async def _close(request: Request) -> None:
    """Run the ``finally`` of a generator that the handler returned, and read the body no further."""
    form, stream = request._form, request._stream
    request._stream = None  # its context holds the request
    try:
        if stream is not None:
            await _close_stream(request, stream)
    finally:
        watch = None if stream is None else stream.watch
        if form is not None or watch is not None:
            await uninterrupted(_let_go(form, watch))


async def _let_go(form: MultipartForm | None, watch: Watch | None) -> None:
    if form is not None:
        await form.close()
    if watch is not None:
        await watch.close()


async def _close_stream(request: Request, stream: Stream) -> None:
    try:
        await stream.aclose()
    except BaseException as error:
        if not is_ordinary(error):
            raise
        logger.exception("error at the end of the stream for %s", request._shown_path)


async def _run_hooks(request: Request, brings: bool) -> Answer | None:
    """Run the hooks; an early answer of a hook, or what a mounted app sends, is the answer.

    Args:
        request: The request.
        brings: Whether it may bring a body.  Hooks can look at it.  What is wrong with it is told to those that do,
            and else once there is a handler: a hook may answer itself, or choose another one.
    """
    mounts = request._app._micropie.mounts
    early = await on_headers(request)
    if early is not None:
        return early
    if brings and look_before(request._app.middlewares):
        with suppress(HTTPError):
            request._form = await request._brought.read()
    early = await before_hooks(request)
    if early is not None:
        return early
    mounted = find_mount(mounts, request)
    if mounted is not None:
        await _pass_on(request, *mounted)
    return None


async def _call(request: Request, handler: Handler) -> Any:
    """Call a handler that takes more than its arguments: a method, a thread, or a form that is still coming in."""
    handler.check(request)
    if request._form is not None:
        wanted = handler.plan.wanted(request.path_params, request) if handler.waits else (None,)
        await request._form.wait_for(wanted)
    if handler.blocks:
        result = await request._app._micropie.pool.run(handler.plan.apply(partial, request, [handler.call]))
    else:
        result = handler.plan.apply(handler.call, request, [])
    # PERF: isawaitable() costs as much as all the rest here
    return result if type(result) is AsyncGeneratorType or not isawaitable(result) else await result


async def _examine(request: Request, handler: Handler, result: Any) -> Answer:
    """The answer that a handler's result is; a stream is begun."""
    if result is None and not handler.may_return_none:
        handler.may_return_none = True
        logger.warning("%s returned None, sent as 204 No Content; say so with '-> None'", handler.name)
    found = Answer(200, result) if type(result) is AsyncGeneratorType else answer(result)
    if isinstance(found.body, (str, bytes)):
        return found
    request._stream = stream = Stream(found.body, request)
    if request._contents is not None:
        await request._body.settle()
    if stream.begin():
        await stream.wait_for_first()
    return Answer(found.status, stream, found.headers)


# --- a mounted app ---------------------------------------------------------------------------------------


class _Theirs(bytes):
    """What hooks see in the place of a mounted app's body, which comes later."""


#: The answer has the child's body as long as it has this object.
_THEIRS = _Theirs()


async def _pass_on(request: Request, child: ASGIApp, scope: Scope) -> None:
    forward = request._send

    async def send(message: Message) -> None:
        nonlocal forward
        if message["type"] == "http.response.start" and not request._started:
            forward = await _join(request, message, forward)
        else:
            await forward(message)

    await child(scope, request._body.replay, send)
    if not request._started:
        raise RuntimeError(f"the app mounted for {request._shown_path} sent no answer")


async def _nowhere(message: Message) -> None:
    """What is behind the end of an answer: a client would read it as the beginning of the next one."""


async def _join(request: Request, start: Message, send: Send) -> Send:
    """Start a mounted app's answer: our after hooks have their say, and our session is saved.

    Returns:
        Where the child's body goes: nowhere if there is none, or if a hook put an answer of its own in its place.
    """
    fields, status = clean_headers(start.get("headers")), check_status(start.get("status"))
    if request._entered:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        result = await after_hooks(request, Answer(status, _THEIRS, headers, default_type=None))
        if result.body is not _THEIRS:
            await _send_answer(request, result)
            return _nowhere
        status = result.status
        fields = sound_length(encode_headers(result.headers))
    bare = status in NO_BODY
    if bare:
        fields = [field for field in fields if field[0] != b"content-length"]
    fields = await save_before_answer(request, fields)
    request._started = True
    await send({**start, "status": status, "headers": fields})
    if bare:
        await send({"type": "http.response.body", "body": b""})
        return _nowhere
    length = declared_length(fields)
    if length is None or request.scope["method"] == "HEAD":
        return send
    return Measured(send, length, whole=True)


# --- the answer ------------------------------------------------------------------------------------------


async def _send_answer(request: Request, result: Answer) -> None:
    stream = request._stream
    start = _start(request, result)
    result, body = await (start if stream is None or not stream.is_silent else stream.beside(start))
    if body is None:
        await _send_stream(request, result)
    else:
        body = b"" if request.scope["method"] == "HEAD" else body
        await request._send({"type": "http.response.body", "body": body})


async def _start(request: Request, result: Answer) -> tuple[Answer, bytes | None]:
    """Run the after hooks, save the session and send the header fields.

    Returns:
        The answer, with what hooks have made of it, and its body; None for a stream.
    """
    if request._entered:
        result = await after_hooks(request, result)
    try:
        headers, body = encode_answer(result)
        if request._marked:
            headers = await save_before_answer(request, headers)
        request._sealed = True
    except Exception as error:
        result = await answer_to(request, error)
        headers, body = encode_answer(result)
        headers = vary(request, headers)
    request._started = True
    await request._send({"type": "http.response.start", "status": result.status, "headers": headers})
    if body is None:
        length = declared_length(headers)
        if length is not None:
            request._send = Measured(request._send, length)
    return result, body


async def _send_stream(request: Request, result: Answer) -> None:
    """Send the chunks until the stream ends or the client goes away.

    After an error the body is left without an end, which tells the client that it is not whole.  One that does not
    keep to the ``Content-Length`` that it was given is an error: what comes after it could be read as another answer.
    """
    request._seal()
    inner: Stream | None = request._stream
    outer: Stream = result.body
    if outer is not inner:  # a hook has put its own around the handler's, or in its place
        outer = Stream(outer, request)
        outer.watch = None if inner is None else inner.watch
    try:
        if request.scope["method"] != "HEAD" and result.status not in NO_BODY:
            if outer is not inner or outer.is_silent:
                # granian and daphne hold the headers back until there is a body.
                await request._send({"type": "http.response.body", "body": b"", "more_body": True})
            rest = outer.send()
            if rest is not None:
                await rest
            elif outer is inner and outer.watch is None:
                request._stream = None  # nothing has waited, and it has come to its end
        if request._view is not None:
            await _save_after(request, request._view)
    except BaseException as error:
        if not is_ordinary(error):
            raise
        logger.exception("error in the stream for %s", request._shown_path)
        if outer.watch is not None and outer.watch.is_cancelled():
            raise asyncio.CancelledError from None  # which the generator has turned into that error
        return
    finally:
        if outer is not inner:
            await _close_outer(request, outer, inner)
    if type(request._send) is Measured and outer.watch is not None and outer.watch.over:
        return  # its client has left, so it need not have come to its length
    await request._send({"type": "http.response.body", "body": b""})


async def _close_outer(request: Request, outer: Stream, inner: Stream | None) -> None:
    try:
        await _close_stream(request, outer)
    finally:
        if inner is None:
            request._stream = outer
        else:
            inner.watch = outer.watch


async def _save_after(request: Request, view: SessionView) -> None:
    await view.save()
    if view.unstorable:
        logger.warning("a session cannot begin in a stream, so that of %s is lost", request._shown_path)
