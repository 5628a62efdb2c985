"""Startup and shutdown of an app and of all apps that are mounted on it (ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from micropie.core import Core
from micropie.routing.mounts import Mount
from micropie.types import Message, Receive, Scope, Send

logger: logging.Logger = logging.getLogger("micropie")


class Startable(Protocol):
    """What an app is here."""

    startup_handlers: list[Callable[[], Awaitable[None] | None]]
    shutdown_handlers: list[Callable[[], Awaitable[None] | None]]
    _micropie: Core


async def serve_lifespan(app: Startable, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the startup handlers, wait for the server's end, run the shutdown handlers.

    Raises:
        ValueError: For the scope of something else, which is nothing that an app can answer.
    """
    if scope["type"] != "lifespan":
        raise ValueError(f"MicroPie handles http, websocket and lifespan, not {scope['type']!r}")
    core = app._micropie
    core.started()
    children: list[Child] = []
    try:
        await receive()
        core.pool.loop, core.watch.stopping = asyncio.get_running_loop(), False
        started = await _start(app, scope, children)
        if started:
            await send({"type": "lifespan.startup.complete"})
            await receive()
            core.watch.stopping = True
        stopped = await _stop(app, children)
    finally:
        for child in children:
            await child.cancel()
        core.pool.close()
    if not started:
        await send({"type": "lifespan.startup.failed", "message": "a startup handler failed, see the log"})
    elif not stopped:
        await send({"type": "lifespan.shutdown.failed", "message": "a shutdown handler failed, see the log"})
    else:
        await send({"type": "lifespan.shutdown.complete"})


async def _start(app: Startable, scope: Scope, children: list[Child]) -> bool:
    """Run the startup handlers, then start the mounted apps, each one once; whether all went well."""
    core = app._micropie
    try:
        core.check()
        for handler in app.startup_handlers:
            await _call(handler)
        for mount in {id(mount.app): mount for mount in core.mounts}.values():
            children.append(Child(mount, scope))
            await children[-1].start()
    except Exception:
        logger.exception("a startup handler failed")
        return False
    return True


async def _stop(app: Startable, children: list[Child]) -> bool:
    """Stop the children that run, then call every shutdown handler; whether all went well."""
    well = True
    for stop in [child.stop for child in reversed(children)] + list(app.shutdown_handlers):
        try:
            await _call(stop)
        except Exception:
            logger.exception("a shutdown handler failed")
            well = False
    return well


async def _call(handler: Any) -> None:
    result = handler()
    if inspect.isawaitable(result):
        await result


class Child:
    """The lifespan of a mounted app, in a task of its own.  An app that has none is left alone."""

    def __init__(self, mount: Mount, scope: Scope) -> None:
        self._app = mount.app
        # A state of its own: two children that both put a "db" there must not get each other's.
        mount.state.clear()
        mount.state.update(scope.get("state") or {})
        self._scope = {**scope, "state": mount.state}
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._runs = False

    async def start(self) -> None:
        """Start the app.

        Raises:
            RuntimeError: If it says that its startup failed.
        """
        self._task = asyncio.create_task(self._run())
        answer = await self._tell("lifespan.startup")
        if answer == "lifespan.startup.failed":
            raise RuntimeError("a mounted app failed to start")
        self._runs = answer == "lifespan.startup.complete"

    async def stop(self) -> None:
        """Stop the app, if it has started.

        Raises:
            RuntimeError: If it says that its shutdown failed.
        """
        if self._runs and await self._tell("lifespan.shutdown") == "lifespan.shutdown.failed":
            raise RuntimeError("a mounted app failed to shut down")

    async def cancel(self) -> None:
        """Leave nothing behind; after its last word an app has nothing to do any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._in.get, self._answer)
        except Exception:
            # The specification's way to say "no lifespan here", so no error.
            logger.debug("a mounted app does not support lifespan", exc_info=True)
        finally:
            self._out.put_nowait("ended")

    async def _answer(self, message: Message) -> None:
        self._out.put_nowait(message["type"])

    async def _tell(self, kind: str) -> str:
        """Tell the app something and wait for its answer; ``ended`` if it has none."""
        self._in.put_nowait({"type": kind})
        return await self._out.get()
