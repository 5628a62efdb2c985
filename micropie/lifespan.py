"""Startup and shutdown of an app and of all apps that are mounted on it (ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

from .types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from .app import App

logger = logging.getLogger("micropie")


async def serve_lifespan(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the startup handlers, wait for the server's end, run the shutdown handlers."""
    apps = {id(mount.app): mount.app for mount in app._mounts}
    children = [Child(child, scope) for child in apps.values()]
    await receive()
    try:
        for handler in app.startup_handlers:
            await _call(handler)
        for child in children:
            await child.start()
    except Exception:
        logger.exception("a startup handler failed")
        await _stop(app, children)
        await send({"type": "lifespan.startup.failed", "message": "a startup handler failed, see the log"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if await _stop(app, children):
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "lifespan.shutdown.failed", "message": "a shutdown handler failed, see the log"})


async def _stop(app: App, children: list[Child]) -> bool:
    """Stop the children, run every shutdown handler, end the threads; whether all went well."""
    well = True
    for stop in [child.stop for child in reversed(children)] + list(app.shutdown_handlers):
        try:
            await _call(stop)
        except Exception:
            logger.exception("a shutdown handler failed")
            well = False
    app._pool.close()
    return well


async def _call(handler: Any) -> None:
    result = handler()
    if inspect.isawaitable(result):
        await result


class Child:
    """The lifespan of a mounted app, in a task of its own.  An app that has none is left alone."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = dict(scope)
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the app.

        Raises:
            RuntimeError: If it says that its startup failed.
        """
        self._task = asyncio.create_task(self._run())
        answer = await self._tell(self._task, "lifespan.startup")
        if answer == "lifespan.startup.failed":
            await self._end(self._task)
            raise RuntimeError("a mounted app failed to start")

    async def stop(self) -> None:
        """Stop the app, if it was started.

        Raises:
            RuntimeError: If it says that its shutdown failed.
        """
        if self._task is None:
            return
        answer = await self._tell(self._task, "lifespan.shutdown")
        await self._end(self._task)
        if answer == "lifespan.shutdown.failed":
            raise RuntimeError("a mounted app failed to shut down")

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._in.get, self._out.put)
        except Exception:
            # The specification's way to say "no lifespan here", so no error.
            logger.debug("a mounted app does not support lifespan", exc_info=True)
        finally:
            self._out.put_nowait({"type": "ended"})

    async def _end(self, task: asyncio.Task[None]) -> None:
        # It has said its last word.  Many an app goes on waiting for another message.
        task.cancel()
        await asyncio.wait([task])
        self._task = None

    async def _tell(self, task: asyncio.Task[None], kind: str) -> str:
        if task.done():
            return "ended"
        await self._in.put({"type": kind})
        return str((await self._out.get())["type"])
