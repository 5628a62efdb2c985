import pytest
from micropie.testing import TestClient

from app import app

pytestmark = pytest.mark.asyncio


async def test_the_page_and_its_style():
    async with TestClient(app) as client:
        assert "Your name" in (await client.get("/")).text
        assert (await client.get("/static/style.css")).headers["Content-Type"].startswith("text/css")


async def test_socket_io_answers_under_its_path():
    async with TestClient(app) as client:
        answer = await client.get("/socket.io/?EIO=4&transport=polling")
        assert answer.text.startswith("0{")  # an "open" packet, and what the client needs to know
