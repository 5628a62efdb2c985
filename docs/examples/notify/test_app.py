import pytest
from micropie.testing import TestClient

from app import app

pytestmark = pytest.mark.asyncio

ALICE = {"user": "Alice", "password": "apple"}
BOB = {"user": "Bob", "password": "banana"}


async def test_a_note_reaches_all_tabs():
    async with TestClient(app) as alice, TestClient(app) as bob:
        assert (await alice.post("/login", data=ALICE)).status_code == 204
        assert (await bob.post("/login", data=BOB)).status_code == 204
        async with alice.websocket("/inbox") as one, alice.websocket("/inbox") as two:
            assert (await one.receive_json())["tabs"] == 1
            assert (await one.receive_json())["tabs"] == (await two.receive_json())["tabs"] == 2
            await bob.post("/send", data={"to": "Alice", "text": "Hello"})
            for ws in (one, two):
                [note] = (await ws.receive_json())["notes"]
                assert (note["from"], note["text"], note["read"]) == ("Bob", "Hello", False)
            await alice.post("/read", data={"number": note["number"]})
            assert [(await ws.receive_json())["notes"][0]["read"] for ws in (one, two)] == [True, True]
            await alice.post("/logout")
            assert [note async for note in one] == []
            assert one.close_code == 4001


async def test_a_login_makes_a_new_session_id():
    async with TestClient(app) as client:
        await client.post("/login", data=ALICE)
        before = client.cookies["session_id"]
        await client.post("/login", data=BOB)
        assert client.cookies["session_id"] != before
        assert (await client.get("/me?user=Alice")).json() == {"user": "Bob"}


async def test_who_is_not_logged_in_is_refused():
    async with TestClient(app) as client:
        assert (await client.post("/login", data=ALICE | {"password": "pear"})).status_code == 403
        assert (await client.post("/send?user=Bob", data={"to": "Alice", "text": "Hello"})).status_code == 401
        async with client.websocket("/inbox?user=Alice") as ws:
            assert ws.response.status_code == 401
