"""An app that takes a body in every way there is, and tells how the last one that broke off has ended."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, MultipartFileError, Upload, methods


class Bodies(App):
    """One handler for each way to take a body."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.ends: asyncio.Queue[str] = asyncio.Queue()

    async def field(self, name: str = "missing") -> str:
        return name

    async def raw(self) -> bytes:
        return await self.request.body()

    async def pieces(self) -> bytes:
        return b"".join([piece async for piece in self.request.stream()])

    async def form(self) -> str:
        return (await self.request.read_form()).get("name", ["missing"])[0]

    async def upload(self, file: Upload, name: str = "missing") -> str:
        return f"{name} {file.filename} {len(await file.read())}"

    def sync(self, file: Upload, name: str = "missing") -> str:
        return f"{name} {file.filename} {len(file.file.read())}"

    @methods("GET")
    async def only_get(self) -> str:
        return "got"

    # --- bodies that break off

    async def cut_upload(self, file: Upload) -> None:
        await self._watch(file.read(1), file.read())

    async def cut_save(self, file: Upload) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                await self._watch(file.read(1), file.save(Path(folder) / "file"))
            finally:
                assert list(Path(folder).iterdir()) == []  # noqa: ASYNC240  # an empty folder, in memory

    async def cut_stream(self) -> None:
        pieces = self.request.stream()
        await self._watch(anext(pieces), self._rest(pieces))

    async def _rest(self, pieces: Any) -> None:
        async for _ in pieces:
            pass

    async def _watch(self, first: Any, rest: Any) -> None:
        end = "whole"
        try:
            await first
            self.begun.put_nowait("begun")
            await rest
        except MultipartFileError as error:
            end = f"{type(error).__name__} {error.cause}"
            raise
        except HTTPError as error:
            end = f"{type(error).__name__} {error}"
            raise
        finally:
            self.ends.put_nowait(end)

    async def begin(self) -> str:
        return await self.begun.get()

    async def end(self) -> str:
        return await self.ends.get()


app = Bodies()
