import pytest
from micropie import ConnectionClosed
from micropie.testing import TestClient

from app import app

pytestmark = pytest.mark.asyncio


async def greeting(client, path):
    """What comes from an address; after it the app has closed."""
    async with client.websocket(path) as ws:
        words = await ws.receive()
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive()
        assert closed.value.code == 1000
        return words


async def test_the_name_comes_from_the_address():
    async with TestClient(app) as client:
        assert await greeting(client, "/greet/Alice") == "Hello Alice!"
        assert await greeting(client, "/greet?name=Bob") == "Hello Bob!"
        assert await greeting(client, "/greet") == "Hello Guest!"


async def test_an_address_with_too_much_in_it():
    async with TestClient(app) as client, client.websocket("/greet/Alice/Bob") as ws:
        assert ws.response.status_code == 404
