import pytest
from micropie.testing import TestClient

from app import app

pytestmark = pytest.mark.asyncio


async def test_what_is_said_is_kept_for_the_next():
    async with TestClient(app) as alice, TestClient(app) as bob:
        await alice.post("/enter", data={"name": " Alice "})
        await bob.post("/enter", data={"name": "Bob"})
        async with alice.websocket("/room/kitchen") as ws:
            assert await ws.receive_json() == {"kind": "history", "messages": [], "you": "Alice"}
            assert await ws.receive_json() == {"kind": "people", "names": ["Alice"]}
            await ws.send("hi")
            said = await ws.receive_json()
            assert (said["name"], said["text"]) == ("Alice", "hi")
            async with bob.websocket("/room/kitchen") as other:
                assert (await other.receive_json())["messages"] == [said]
                assert await ws.receive_json() == {"kind": "people", "names": ["Alice", "Bob"]}
            assert await ws.receive_json() == {"kind": "people", "names": ["Alice"]}


async def test_who_may_enter():
    async with TestClient(app) as client:
        assert (await client.post("/enter", data={"name": "  "})).status_code == 400
        for path, status in [
            ("/room/kitchen", 401),
            ("/room/kitchen?name=Alice", 401),
            ("/room/nowhere", 404),
        ]:
            async with client.websocket(path) as ws:
                assert ws.response.status_code == status
