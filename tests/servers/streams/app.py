"""Streams that only their client ends, and what somebody else asks for meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from micropie import App, HTTPError

PIECE = b"x" * 10_000
#: Two gigabytes: more than any of these clients takes.
MANY = 200_000

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def say(case: str, what: str) -> None:
    print(f"@{case} {what}", flush=True)  # noqa: T201  # the test reads it


class Streams(App):
    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()
        self.news_for_threads = threading.Event()

    async def text(self) -> str:
        return "text"

    async def tell(self) -> str:
        self.news.set()
        self.news_for_threads.set()
        self.news, self.news_for_threads = asyncio.Event(), threading.Event()
        return "told"

    # --- that never wait

    async def film(self, case: str) -> AsyncIterator[bytes]:
        token, task = variable.set(case), asyncio.current_task()
        try:
            while True:
                yield PIECE
        finally:
            variable.reset(token)
            say(case, "closed" if asyncio.current_task() is task else "closed by another task")

    async def export(self, case: str) -> AsyncIterator[bytes]:
        left = MANY
        try:
            while left:
                left -= 1
                yield PIECE
        finally:
            say(case, "closed" if left else "sent as a whole")

    def sync_film(self, case: str) -> Iterator[bytes]:
        token = variable.set(case)
        try:
            while True:
                yield PIECE
        finally:
            variable.reset(token)
            say(case, "closed")

    async def group_film(self, case: str) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(1000), asyncio.TaskGroup() as group:
                group.create_task(asyncio.Event().wait())
                while True:
                    yield PIECE
        finally:
            say(case, "closed")

    async def stubborn_film(self, case: str) -> AsyncIterator[bytes]:
        try:
            for _ in range(100):
                try:
                    while True:
                        yield PIECE
                except asyncio.CancelledError:
                    pass
        finally:
            say(case, "closed")

    # --- that wait

    async def tail(self, case: str) -> AsyncIterator[bytes]:
        token, task = variable.set(case), asyncio.current_task()
        try:
            yield b"line"
            await asyncio.Event().wait()
        finally:
            variable.reset(token)
            say(case, "closed" if asyncio.current_task() is task else "closed by another task")

    async def stubborn_tail(self, case: str) -> AsyncIterator[bytes]:
        """It swallows the one cancellation, as Python 3.11's ``wait_for`` can do."""
        try:
            yield b"line"
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()
        finally:
            say(case, "closed")

    async def silent(self, case: str) -> AsyncIterator[bytes]:
        try:
            await self.news.wait()
            yield b"news"
            await asyncio.Event().wait()
        finally:
            say(case, "closed")

    def sync_silent(self, case: str) -> Iterator[bytes]:
        try:
            self.news_for_threads.wait(30)
            yield b"news"
        finally:
            say(case, "closed")

    async def looks(self, case: str) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.01)
        raise HTTPError(404)
        yield

    async def events(self, case: str) -> Any:
        return 200, self.silent(case), {"Content-Type": "text/event-stream"}


app = Streams()
