import pytest
from micropie.testing import TestClient

from app import MANY, Document, app

pytestmark = pytest.mark.asyncio


async def test_updates_go_around_and_are_kept():
    app.document = Document()
    async with TestClient(app) as client:
        await client.post("/hello")
        async with client.websocket("/edit") as one:
            assert len((await one.receive_json())["people"]) == 1
            await one.send(b"\0\0\0\0first")
            assert await one.receive() == b"first"  # It comes back: the server has it.
            async with client.websocket("/edit") as late:
                assert await late.receive() == b"first"
                assert len((await late.receive_json())["people"]) == 2


async def test_many_updates_are_folded_into_a_snapshot():
    app.document = Document()
    async with TestClient(app) as client:
        await client.post("/hello")
        async with client.websocket("/edit") as ws:
            for _ in range(MANY):
                await ws.send(b"\0\0\0\0x")
            fold = 0
            while not fold:
                message = await ws.receive()
                fold = 0 if message == b"x" else _number(message)
            await ws.send((fold + 1).to_bytes(4) + b"not asked for")
            await ws.send(fold.to_bytes(4) + b"all of it")
            await ws.send(b"\0\0\0\0and more")
            while await ws.receive() != b"and more":
                pass
            assert app.document.after(-1)[0] == b"all of it"
            assert len(app.document.after(-1)) < MANY


def _number(message):
    """The number of the updates to fold, if the message asks for that."""
    return int(message.removeprefix('{"fold":').removesuffix("}")) if '"fold"' in message else 0


async def test_a_document_that_is_full():
    app.document = Document()
    async with TestClient(app) as client:
        await client.post("/hello")
        async with client.websocket("/edit") as ws:
            for _ in range(5):
                await ws.send(bytes(2**20))  # the largest message that there is
            assert len([message async for message in ws if isinstance(message, bytes)]) <= 4
            assert ws.close_code == 4013


async def test_who_has_no_name_is_refused():
    async with TestClient(app) as client, client.websocket("/edit?name=Owl") as ws:
        assert ws.response.status_code == 401
