"""The dashboard's rules, without a browser."""

import time

import pytest
from micropie.testing import TestClient

import app
from app import Dashboard

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(app, "EVERY", 0.01)


async def test_every_page_gets_every_sample():
    async with TestClient(Dashboard()) as client, client.websocket("/samples") as first:
        seen = await first.receive_json()
        assert set(seen[0]) == {"time", "processor", "delay", "pages"}
        async with client.websocket("/samples") as second:
            late = await second.receive_json()
            while not late or late[-1]["pages"] < 2:
                late += await second.receive_json()
            while seen[-1]["time"] < late[-1]["time"]:
                seen += await first.receive_json()
        assert seen[: len(late)] == late
        while seen[-1]["pages"] > 1:
            seen += await first.receive_json()


async def test_a_page_goes_on_where_it_was():
    dashboard = Dashboard()
    async with TestClient(dashboard) as client:
        async with client.websocket("/samples") as ws:
            last = (await ws.receive_json())[-1]["time"]
        async with client.websocket(f"/samples?after={last}") as ws:
            missed = await ws.receive_json()
        times = [sample["time"] for sample in dashboard.samples]
        assert missed[0]["time"] == times[times.index(last) + 1]
        async with client.websocket(f"/samples?after={time.time() + 0.1}") as ws:
            assert all(sample["time"] > last for sample in await ws.receive_json())
        async with client.websocket("/samples?after=yesterday") as ws:
            assert ws.response.status_code == 400


async def test_work_is_a_post():
    async with TestClient(Dashboard()) as client:
        assert (await client.get("/work")).status_code == 405
        assert (await client.post("/work")).status_code == 204
