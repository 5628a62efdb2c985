"""One HTTP request, from its scope to the answer."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

from .concurrency import is_ordinary, leave_when, uninterrupted
from .exceptions import HTTPError, MultipartFileError, the_one
from .headers import encode_headers
from .middleware import HttpMiddleware, short_circuit
from .mounts import find_mount
from .origins import check_host
from .requests import Request, current_request
from .responses import (
    NO_BODY,
    TEXT,
    Answer,
    Stream,
    answer,
    encode_answer,
    encode_chunk,
    error_answer,
    field_list,
    header_list,
)
from .routing import Handler, split_path
from .types import ASGIApp, Message, Receive, Scope, Send
from .visits import load_session, save_before_answer

if TYPE_CHECKING:
    from .app import App

logger = logging.getLogger("micropie")


async def serve_http(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request.  No error leaves this function, only a cancellation."""
    request = Request(app, scope, receive)
    token = current_request.set(request)
    exchange = Exchange(app, request, receive, send)
    try:
        await exchange.run()
    except OSError:  # a handler's own is answered in run(), so this is send()'s word for "the client left"
        logger.debug("the client of %s has left", request.path, exc_info=True)
    finally:
        try:
            if exchange.has_loose_ends:
                await uninterrupted(exchange.close())
        finally:
            current_request.reset(token)


class Exchange:
    """A request on its way: session loaded, hooks, handler, hooks, session saved, answer."""

    __slots__ = ("_app", "_entered", "_gone", "_receive", "_request", "_send", "_started", "_stream")

    def __init__(self, app: App, request: Request, receive: Receive, send: Send) -> None:
        self._app = app
        self._request = request
        self._receive = receive
        self._send = send
        # The middlewares whose before hook returned None, and whose after hook is still to run.
        self._entered: list[HttpMiddleware] = []
        self._gone = False
        self._started = False
        self._stream: Stream | None = None

    async def run(self) -> None:
        """Answer the request, or have a mounted app answer it."""
        try:
            result = await self._result()
        except BaseException as error:
            if not is_ordinary(error):
                await self._after_hooks(Answer(500, ""))
                raise
            if self._started:
                logger.exception("the app mounted for %s failed while it was answering", self._request.path)
                return
            result = await self._error(error)
        if result is not None:
            await self._send_answer(await self._after_hooks(result))

    @property
    def has_loose_ends(self) -> bool:
        """Whether a stream or an upload is to be closed."""
        return self._stream is not None or self._request._form is not None

    async def close(self) -> None:
        """Run the ``finally`` of a generator that the handler returned, and read the body no further."""
        if self._request._form is not None:
            await self._request._form.close()
        if self._stream is not None:
            try:
                await self._stream.aclose()
            except Exception:
                logger.exception("error at the end of the stream for %s", self._request.path)

    async def _result(self) -> Answer | None:
        """The answer; None if a mounted app has sent it."""
        app, request = self._app, self._request
        if app._allowed_hosts:
            check_host(request.scope, app._allowed_hosts)
        await load_session(request)
        early = await self._on_headers()
        if early is not None:
            return early
        mounted = find_mount(app._mounts, request)
        if mounted is None:
            await request._read_body()
        early = await self._before_hooks()
        if early is not None:
            return early
        mounted = find_mount(app._mounts, request)
        if mounted is not None:
            await self._pass_on(*mounted)
            return None
        return await self._call(*self._find_handler())

    # --- hooks ----------------------------------------------------------------------------------------

    async def _on_headers(self) -> Answer | None:
        for middleware in self._app.middlewares:
            hook = getattr(middleware, "on_headers", None)  # optional, also for one that is no HttpMiddleware
            early = None if hook is None else short_circuit(await hook(self._request), hook)
            if early is not None:
                return _early_answer(early)
        return None

    async def _before_hooks(self) -> Answer | None:
        for middleware in self._app.middlewares:
            hook = middleware.before_request
            early = short_circuit(await hook(self._request), hook)
            if early is not None:
                return _early_answer(early)
            self._entered.append(middleware)
        return None

    async def _after_hooks(self, result: Answer) -> Answer:
        while self._entered:
            try:
                result = await self._after_hook(self._entered.pop(), result)
            except Exception as error:
                result = await self._error(error)
            except BaseException:
                await self._after_hooks(result)
                raise
        return result

    async def _after_hook(self, middleware: HttpMiddleware, result: Answer) -> Answer:
        hook = middleware.after_request
        headers = field_list(result.headers)
        changes = short_circuit(await hook(self._request, result.status, result.body, headers), hook) or {}
        status, body = changes.get("status_code", result.status), changes.get("body", result.body)
        changed = answer((status, body, changes.get("headers", headers)))
        if isinstance(body, (dict, list)):
            return changed
        # Other headers or an edited text do not turn JSON, or the text of an error, into HTML.
        return changed._replace(default_type=result.default_type)

    # --- the handler ----------------------------------------------------------------------------------

    def _find_handler(self) -> tuple[Handler, bool]:
        """The handler, and whether all path segments have to fit its parameters."""
        request, routes = self._request, self._app._routes
        segments = split_path(request.scope)
        if request._route_handler is not None:
            request.path_params = request.path_params or segments[1:]
            return routes.chosen(request._route_handler, websocket=False), False
        name = segments[0] if segments else "index"
        if name.startswith(("_", "ws_")):
            raise HTTPError(404)  # not for index either
        handler = routes.http(name)
        request.path_params = segments[1:]
        if handler is None:
            handler = routes.http("index")
            request.path_params = segments
            if handler is None or not handler.plan.takes_segments:
                raise HTTPError(404)
        return handler, True

    async def _call(self, handler: Handler, exact: bool) -> Answer:
        request = self._request
        if handler.allowed is not None and request.method not in handler.allowed:
            raise HTTPError(405, headers=[("Allow", ", ".join(sorted(handler.allowed)))])
        if request._form is not None:
            await request._form.wait_for(handler.plan.wanted(request.path_params, request))
        arguments, keywords = handler.plan.bind(request.path_params, request, exact)
        result = await handler.run(self._app._pool, arguments, keywords)
        if result is None and not handler.may_return_none:
            handler.may_return_none = True
            logger.warning("%s returned None, sent as 204 No Content; say so with '-> None'", handler.name)
        found = answer(result)
        if isinstance(found.body, (str, bytes)):
            return found
        self._stream = Stream(found.body, self._app._pool)
        await request._body.settle()
        async with leave_when(self._client_left):
            await self._stream.fetch_first()
        return found._replace(body=self._stream)

    async def _error(self, error: BaseException) -> Answer:
        """The page for an error.  What a handler changed in the session before an unexpected one is dropped."""
        error = the_one(error)
        if isinstance(error, MultipartFileError) and isinstance(error.cause, HTTPError):
            error = error.cause
        if isinstance(error, HTTPError):
            return await error_page(self._app, error)
        self._request._session.discard()
        logger.error("error while answering %s", self._request.path, exc_info=error)
        if self._app.debug:
            return Answer(500, "".join(traceback.format_exception(error)), default_type=TEXT)
        return await error_page(self._app, HTTPError(500))

    # --- a mounted app --------------------------------------------------------------------------------

    async def _pass_on(self, child: ASGIApp, scope: Scope) -> None:
        replaced = False

        async def send(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and not self._started:
                replaced = await self._join(message)
            elif not replaced:
                await self._send(message)

        await child(scope, self._request._body.replay, send)
        if not self._started:
            raise RuntimeError(f"the app mounted for {self._request.path} sent no answer")

    async def _join(self, start: Message) -> bool:
        """Start a mounted app's answer: our after hooks have their say, and our session is saved.

        Returns:
            Whether a hook put an answer of its own in the place of the child's.
        """
        fields = [(name.lower(), value) for name, value in start.get("headers", ())]
        if self._entered:
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
            result = await self._after_hooks(Answer(start["status"], b"", headers))
            if result.body != b"":
                await self._send_answer(result)
                return True
            start = {**start, "status": result.status}
            fields = encode_headers(header_list(result))
        fields += encode_headers(await save_before_answer(self._request))
        self._started = True
        await self._send({**start, "headers": fields})
        return False

    # --- the answer -----------------------------------------------------------------------------------

    async def _send_answer(self, result: Answer) -> None:
        try:
            headers, body = encode_answer(result)
            headers += encode_headers(await save_before_answer(self._request))
        except Exception as error:
            result = await self._error(error)
            headers, body = encode_answer(result)
        self._started = True
        await self._send({"type": "http.response.start", "status": result.status, "headers": headers})
        if body is None:
            await self._send_stream(result)
        else:
            body = b"" if self._request.method == "HEAD" else body
            await self._send({"type": "http.response.body", "body": body})

    async def _send_stream(self, result: Answer) -> None:
        """Send the chunks until the stream ends or the client goes away.

        After an error the body is left without an end, which tells the client that it is not whole.
        """
        inner, outer = self._stream, result.body
        if outer is not inner:  # a hook has put its own around the handler's
            outer = self._stream = Stream(outer, self._app._pool)
        try:
            if self._request.method != "HEAD" and result.status not in NO_BODY:
                async with leave_when(self._client_left):
                    async for chunk in outer:
                        await self._send(
                            {"type": "http.response.body", "body": encode_chunk(chunk), "more_body": True}
                        )
            await self._request.save_session()
            if self._request._session.unstorable:
                logger.warning(
                    "a session cannot begin in a stream, so that of %s is lost", self._request.path
                )
        except Exception:
            logger.exception("error in the stream for %s", self._request.path)
            return
        finally:
            if outer is not inner and inner is not None:
                await self.close()
                self._stream = inner
        await self._send({"type": "http.response.body", "body": b""})

    async def _client_left(self) -> None:
        if self._request._form is not None:
            await self._request._form.ended()
        while not self._gone:
            self._gone = (await self._receive())["type"] == "http.disconnect"


def _early_answer(early: dict[str, Any]) -> Answer:
    return answer((early.get("status_code", 200), early.get("body", ""), early.get("headers", ())))


async def error_page(app: App, error: HTTPError) -> Answer:
    """The app's page for an error status; the plain one if making it fails."""
    try:
        made = await app._error_page(error.status, error.detail)
        if made is None:
            page = error_answer(HTTPError(error.status, error.detail))
        else:
            page = answer(made if isinstance(made, tuple) else (error.status, made))
        page = page._replace(headers=field_list(page.headers) + error.headers)
        encode_answer(page)
    except Exception:
        logger.exception("error in _error_page() for %s", error)
        page = error_answer(HTTPError(error.status))
    return page
