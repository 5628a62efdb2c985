"""The board's rules, without a browser."""

import pytest
from micropie.testing import TestClient

from app import Board

pytestmark = pytest.mark.asyncio

DOT = bytes([1, 5, 0, 1]) + bytes(4)
LINE = bytes([2, 9, 0, 2]) + bytes(8)


async def join(ws):
    """Read what a page gets when it comes, and return the picture."""
    assert (await ws.receive_json())["clear"]
    picture = await ws.receive()
    assert "people" in await ws.receive_json()
    return picture


async def test_everybody_sees_each_piece_and_the_late_one_all_of_them():
    async with (
        TestClient(Board()) as client,
        client.websocket("/draw") as alice,
        client.websocket("/draw") as bob,
    ):
        assert await join(alice) == await join(bob) == b""
        assert await alice.receive_json() == {"people": 2}
        await alice.send(DOT)
        await bob.send(LINE)
        for page in (alice, bob):
            assert {await page.receive(), await page.receive()} == {DOT, LINE}
        async with client.websocket("/draw") as carol:
            assert await join(carol) in {DOT + LINE, LINE + DOT}
        assert [await alice.receive_json() for _ in range(2)] == [{"people": 3}, {"people": 2}]


async def test_a_clean_sheet():
    async with TestClient(Board()) as client, client.websocket("/draw") as alice:
        await join(alice)
        await alice.send(DOT)
        await alice.send("clear")
        assert await alice.receive() == DOT
        assert await alice.receive_json() == {"clear": True}
        async with client.websocket("/draw") as bob:
            assert await join(bob) == b""


async def test_a_slow_page_is_given_the_picture_instead_of_every_piece():
    board = Board()
    async with TestClient(board) as client, client.websocket("/draw") as alice:
        await join(alice)
        [outbox] = board.outboxes
        for number in range(outbox.maxsize + 1):
            board.picture.append(DOT)
            board._tell_everybody(DOT)
            assert outbox.qsize() == (number + 1 if number < outbox.maxsize else 2)
        assert (await alice.receive_json())["clear"]
        assert await alice.receive() == DOT * (outbox.maxsize + 1)


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        b"",
        DOT[:-1],
        DOT + b"x",
        bytes([8, 5, 0, 1, 0, 0, 0, 0]),
        bytes([1, 0, 0, 1, 0, 0, 0, 0]),
        b"x" * 300,
    ],
)
async def test_what_is_no_line_ends_the_connection(message):
    async with TestClient(Board()) as client, client.websocket("/draw") as alice:
        await join(alice)
        await alice.send(message)
        assert [message async for message in alice] == []
        assert alice.close_code == (1009 if len(message) > 260 else 1008)
