import pytest
from micropie.testing import TestClient

from app import app

pytestmark = pytest.mark.asyncio


async def test_the_page_and_its_files():
    async with TestClient(app) as client:
        for path in ("/", "/static/style.css", "/static/live.js"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/static/app.py")).status_code == 404


async def test_a_message_comes_back():
    async with TestClient(app) as client, client.websocket("/echo") as ws:
        await ws.send("hi")
        assert await ws.receive() == "Echo: hi"
