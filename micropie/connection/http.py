"""One HTTP request, from its scope to the answer.

It is read downwards: who answers (:func:`_dispatch`), how he is called (:func:`_run`), what comes of that
(:func:`_answer_of`), and how it goes out (:func:`_start`).  A page without hooks, body and session takes the way
through :func:`serve_http` alone.
"""

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
from micropie.middleware import Hooks, HttpMiddleware, short_circuit
from micropie.request.origins import check_host
from micropie.request.parsed_body import Contents
from micropie.request.request import Request, enter_request, leave_request
from micropie.response.responses import (
    HTML,
    JSON,
    NO_BODY,
    Answer,
    Measured,
    answer,
    check_status,
    declared_length,
    encode_answer,
)
from micropie.routing.mounts import find_mount, one_spelling
from micropie.routing.routes import Handler
from micropie.sessions.visit import prepare_session, save_before_answer, vary
from micropie.strict_json import dump_json
from micropie.types import ASGIApp, Message, Receive, Scope, Send

from .errors import answer_to
from .hooks import after_hooks, early_answer, on_headers
from .lifespan import serve_lifespan
from .streams import Stream
from .websocket import serve_websocket

if TYPE_CHECKING:
    from micropie.app import App
    from micropie.concurrency import Watch
    from micropie.request.uploads import MultipartForm
    from micropie.sessions.view import SessionView

logger: logging.Logger = logging.getLogger("micropie")

#: Header fields that say that there is more to do than to call a handler.
_TELLING = frozenset((b"cookie", b"content-length", b"transfer-encoding"))
#: What most pages are: a body that is known, with a content type that goes without saying.
_WHOLE = frozenset((str, bytes, dict, list))


async def serve_http(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one ASGI connection: a request here, what is not HTTP where it belongs.

    Raises:
        ValueError: For a scope that is neither HTTP, WebSocket nor lifespan.
    """
    if scope["type"] != "http":
        serve = serve_websocket if scope["type"] == "websocket" else serve_lifespan
        await serve(app, scope, receive, send)
        return
    request = Request(app, scope, receive, send)
    token = enter_request(request)
    result: Any
    body: bytes | None = None  # of an answer to which nothing is to be added
    try:
        try:
            core, method, brings = request.x_core, scope["method"], False
            # PERF: what most requests lack is looked for here, without a call; the budget of http_text holds it.
            more = (
                method != "GET"
                or not core.plain
                or ("root_path" in scope and scope["root_path"])  # PERF: get() is a call
                or "session" in scope
            )
            if not more:
                for name, _ in scope["headers"]:
                    if name in _TELLING:
                        more = True
                        break
            if more:
                brings = _prepare(request)
                if request.x_view is not None and request.x_view.waits:
                    await request.x_view.load()
            if app.middlewares or core.mounts:
                result = handler = await _dispatch(request, brings=brings)
            elif more and request.scope.get("root_path"):
                result = handler = core.http_routes.find(request)
            else:
                routes = core.http_routes
                result = handler = routes.by_path.get(scope["path"]) or routes.by_segments(request)
            if type(handler) is Handler:
                if more and (
                    method not in handler.allowed or (brings and (request.x_segments or app.middlewares))
                ):
                    # Whether somebody takes it comes before what is wrong with it.
                    result = _told_at_once(request, handler)
                if result is handler:
                    if brings and request.x_contents is not None:
                        request.x_form = await request.x_contents.read()
                    if not handler.direct or request.x_form is not None:
                        result = await _run(request, handler)
                    else:
                        if handler.simple and not request.x_segments:
                            result = handler.call()
                        else:
                            result = handler.plan.apply(handler.call, request, [])
                        if handler.awaits:
                            result = await result
                    view = request.x_view
                    adds = (
                        request.x_entered
                        or request.x_cookies is not None
                        or (view is not None and view.looked)
                    )
                    kind = type(result)
                    # PERF: what most pages are, without a call
                    if adds or kind not in _WHOLE:
                        result = (
                            Answer(200, result) if kind is str else await _answer_of(request, handler, result)
                        )
                    else:
                        text = kind is str or kind is bytes
                        body = result.encode() if kind is str else result if text else dump_json(result)
                        headers = [HTML if text else JSON, (b"content-length", b"%d" % len(body))]
        except BaseException as error:
            result, body = await _failure(request, error), None
        if body is not None:
            request.x_sealed = True
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
        elif result is not None:
            stream, start = request.x_stream, _start(request, result)
            rest = await (start if stream is None or not stream.is_silent else stream.beside(start))
            if rest is not None:
                await _send_stream(request, rest)
    except OSError:  # a handler's own is answered, so this is send()'s word for "the client left"
        logger.debug("the client of %s has left", request.x_shown_path, exc_info=True)
    finally:
        try:
            if request.x_stream is not None or request.x_form is not None:
                await _close(request)
        finally:
            leave_request(token)


# --- who answers -----------------------------------------------------------------------------------------


def _prepare(request: Request) -> bool:
    """Do what comes before the hooks: the app's first request, host, session.

    Returns:
        Whether the request may bring a body.
    """
    core, scope = request.x_core, request.scope
    if not core.begun:
        core.begin()
    if "root_path" in scope and scope["root_path"]:  # noqa: RUF019  # PERF: get() is a call
        scope = request.scope = one_spelling(scope)
    fields = dict(scope["headers"])  # far cheaper than to look for one after the other
    if core.allowed_hosts:
        check_host(scope, core.allowed_hosts)
    cookie = b"cookie" in fields
    if cookie or "session" in scope or core.mounts:
        prepare_session(request, cookie=cookie)
    if scope["method"] == "GET" and not (b"content-length" in fields or b"transfer-encoding" in fields):
        return False
    request.x_contents = Contents(scope["method"], fields, request.x_receive, core.limits)
    return True


async def _dispatch(request: Request, *, brings: bool) -> Handler | Answer | None:
    """Run the hooks, and find who answers.

    Args:
        request: The request.
        brings: Whether it may bring a body.  Hooks can look at it.  What is wrong with it is told to those that do,
            and else once there is a handler: a hook may answer itself, or choose another one.

    Returns:
        A handler of ours; the answer of a hook in its place; None if a mounted app has answered.
    """
    core = request.x_core
    hooks = core.hooks
    if hooks.middlewares != request.x_app.middlewares:
        core.hooks = hooks = Hooks(request.x_app.middlewares)
    if hooks.early:
        answered = await on_headers(request, hooks)
        if answered is not None:
            return answered
    if brings and hooks.look:
        with suppress(HTTPError):
            request.x_form = await request.x_brought().read()
    entered: list[HttpMiddleware] = []
    request.x_entered = entered
    for middleware, before, after in hooks.steps:
        if before:
            early = await middleware.before_request(request)
            if early is not None and short_circuit(early, middleware.before_request) is not None:
                return early_answer(early)
        if after:
            entered.append(middleware)
    if core.mounts or request._subapp is not None:
        mounted = find_mount(core.mounts, request)
        if mounted is not None:
            await _pass_on(request, *mounted)
            return None
    chosen, routes = request._route_handler, core.http_routes
    if chosen is None and not request.scope.get("root_path"):  # PERF: as Routes.find()
        return routes.by_path.get(request.scope["path"]) or routes.by_segments(request)
    return routes.find(request, chosen)


def _told_at_once(request: Request, handler: Handler) -> Handler | Answer:
    """The answer to OPTIONS, unless the handler takes it itself; the handler, if it takes the request.

    Raises:
        HTTPError: As :meth:`Handler.check`.
    """
    if request.method == "OPTIONS" and "OPTIONS" not in handler.allowed:
        handler.plan.check(request.x_segments or [])
        return Answer(204, b"", handler.allow)
    handler.check(request)
    return handler


async def _run(request: Request, handler: Handler) -> Any:
    """Call a handler that takes more than its arguments: a method, a thread, or a form that is still coming in."""
    handler.check(request)
    if request.x_form is not None:
        wanted = handler.plan.wanted(request.x_segments or [], request) if handler.waits else (None,)
        await request.x_form.wait_for(wanted)
    if handler.blocks:
        result = await request.x_core.pool.run(handler.plan.apply(partial, request, [handler.call]))
    else:
        result = handler.plan.apply(handler.call, request, [])
    # PERF: isawaitable() costs as much as all the rest here
    return result if type(result) is AsyncGeneratorType or not isawaitable(result) else await result


# --- a mounted app ---------------------------------------------------------------------------------------


class _Theirs(bytes):
    """What hooks see in the place of a mounted app's body, which comes later."""


#: The answer has the child's body as long as it has this object.
_THEIRS = _Theirs()


async def _pass_on(request: Request, child: ASGIApp, scope: Scope) -> None:
    forward = request.x_send

    async def send(message: Message) -> None:
        nonlocal forward
        if message["type"] == "http.response.start" and not request.x_started:
            forward = await _join(request, message, forward)
        else:
            await forward(message)

    await child(scope, request.x_brought().body.replay, send)
    if not request.x_started:
        raise RuntimeError(f"the app mounted for {request.x_shown_path} sent no answer")


async def _nowhere(message: Message) -> None:
    """What is behind the end of an answer: a client would read it as the beginning of the next one."""


async def _join(request: Request, start: Message, send: Send) -> Send:
    """Start a mounted app's answer: our after hooks have their say, and our session is saved.

    Returns:
        Where the child's body goes: nowhere if there is none, or if a hook put an answer of its own in its place.
    """
    fields, status = clean_headers(start.get("headers")), check_status(start.get("status"))
    if request.x_entered:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        result = await after_hooks(request, Answer(status, _THEIRS, headers, default_type=None))
        if result.body is not _THEIRS:
            rest = await _start(request, result)
            if rest is not None:
                await _send_stream(request, rest)
            return _nowhere
        status = result.status
        fields = sound_length(encode_headers(result.headers))
    bare = status in NO_BODY
    if bare:
        fields = [field for field in fields if field[0] != b"content-length"]
    fields = await save_before_answer(request, fields)
    request.x_started = True
    await send({**start, "status": status, "headers": fields})
    if bare:
        await send({"type": "http.response.body", "body": b""})
        return _nowhere
    length = declared_length(fields)
    if length is None or request.scope["method"] == "HEAD":
        return send
    return Measured(send, length, whole=True)


# --- the answer ------------------------------------------------------------------------------------------


async def _answer_of(request: Request, handler: Handler, result: Any) -> Answer:
    """The answer that a handler's result is; a stream is begun."""
    if result is None and not handler.may_return_none:
        handler.may_return_none = True
        logger.warning("%s returned None, sent as 204 No Content; say so with '-> None'", handler.name)
    found = Answer(200, result) if type(result) is AsyncGeneratorType else answer(result)
    if isinstance(found.body, (str, bytes)):
        return found
    request.x_stream = found.body = stream = Stream(found.body, request)
    if request.x_contents is not None:
        await request.x_contents.body.settle()
    if stream.begin():
        await stream.wait_for_first()
    return found


async def _failure(request: Request, error: BaseException) -> Answer | None:
    """The answer to an error; None if a mounted app had begun to answer."""
    if not is_ordinary(error):
        await after_hooks(request, Answer(500, ""))
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    if request.x_started:
        logger.error(
            "the app mounted for %s failed while it was answering", request.x_shown_path, exc_info=error
        )
        return None
    return await answer_to(request, error)


async def _start(request: Request, result: Answer) -> Answer | None:
    """Run the after hooks, save the session, send the header fields, and the body if it is known.

    Returns:
        The answer, with what hooks have made of it, if its body is a stream, which is still to be sent.
    """
    if request.x_entered:
        result = await after_hooks(request, result)
    try:
        headers, body = encode_answer(result)
        if request.x_cookies is not None or request.x_view is not None:
            headers = await save_before_answer(request, headers)
        request.x_sealed = True
    except Exception as error:
        result = await answer_to(request, error)
        headers, body = encode_answer(result)
        headers = vary(request, headers)
    request.x_started = True
    await request.x_send({"type": "http.response.start", "status": result.status, "headers": headers})
    if body is None:
        length = declared_length(headers) if len(headers) > 1 else None
        if length is not None:
            request.x_send = Measured(request.x_send, length)
        return result
    body = b"" if request.scope["method"] == "HEAD" else body
    await request.x_send({"type": "http.response.body", "body": body})
    return None


async def _send_stream(request: Request, result: Answer) -> None:
    """Send the chunks until the stream ends or the client goes away.

    After an error the body is left without an end, which tells the client that it is not whole.  One that does not
    keep to the ``Content-Length`` that it was given is an error: what comes after it could be read as another answer.
    """
    request.x_seal()
    inner: Stream | None = request.x_stream
    outer: Stream = result.body
    if outer is not inner:  # a hook has put its own around the handler's, or in its place
        outer = Stream(outer, request)
        outer.watch = None if inner is None else inner.watch
    try:
        if request.scope["method"] != "HEAD" and result.status not in NO_BODY:
            if outer is not inner or outer.is_silent:
                # granian and daphne hold the headers back until there is a body.
                await request.x_send({"type": "http.response.body", "body": b"", "more_body": True})
            rest = outer.send()
            if rest is not None:
                await rest
            elif outer is inner and outer.watch is None:
                request.x_stream = None  # nothing has waited, and it has come to its end
        if request.x_view is not None:
            await _save_after(request, request.x_view)
    except BaseException as error:
        if not is_ordinary(error):
            raise
        logger.exception("error in the stream for %s", request.x_shown_path)
        if outer.watch is not None and outer.watch.is_cancelled():
            raise asyncio.CancelledError from None  # which the generator has turned into that error
        return
    finally:
        if outer is not inner:
            await _close_outer(request, outer, inner)
    if type(request.x_send) is Measured and outer.watch is not None and outer.watch.over:
        return  # its client has left, so it need not have come to its length
    await request.x_send({"type": "http.response.body", "body": b""})


async def _save_after(request: Request, view: SessionView) -> None:
    await view.save()
    if view.unstorable:
        logger.warning("a session cannot begin in a stream, so that of %s is lost", request.x_shown_path)


# --- the end ---------------------------------------------------------------------------------------------


async def _close(request: Request) -> None:
    """Run the ``finally`` of a generator that the handler returned, and read the body no further."""
    form, stream = request.x_form, request.x_stream
    request.x_stream = None  # its context holds the request
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
        logger.exception("error at the end of the stream for %s", request.x_shown_path)


async def _close_outer(request: Request, outer: Stream, inner: Stream | None) -> None:
    try:
        await _close_stream(request, outer)
    finally:
        if inner is None:
            request.x_stream = outer
        else:
            inner.watch = outer.watch
