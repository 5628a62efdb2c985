"""The upload's rules, without a browser."""

import hashlib

import pytest
import pytest_asyncio
from micropie.testing import TestClient

from app import Uploads

pytestmark = pytest.mark.asyncio

PIE = b"apple" * 100_000


@pytest_asyncio.fixture
async def client():
    async with TestClient(Uploads()) as client:
        yield client


async def test_an_upload_is_told_to_its_page(client):
    assert (await client.post("/hello")).json() == {"limit": 32 * 1024 * 1024}
    async with client.websocket("/progress") as ws:
        assert await ws.receive_json() == []
        answer = await client.post("/upload?key=a", files={"file": ("pie.jpg", PIE)})
        assert answer.json() == {"size": len(PIE), "sha256": hashlib.sha256(PIE).hexdigest()}
        sizes = []
        while True:
            [upload] = await ws.receive_json()
            sizes.append(upload["size"])
            if upload["state"] != "coming":
                break
        assert sizes == sorted(sizes)
        assert upload.pop("of") > len(PIE)
        assert upload == {"key": "a", "name": "pie.jpg", "state": "done", **answer.json()}


async def test_nobody_looks_at_another_desk():
    upload = Uploads()
    async with TestClient(upload) as alice, TestClient(upload) as eve:
        await alice.post("/hello")
        async with alice.websocket("/progress"):
            await alice.post("/upload?key=a", files={"file": ("pie.jpg", PIE)})
            [name] = upload.desks
            async with eve.websocket(f"/progress?uploader={name}") as ws:
                assert ws.response.status_code == 401
            answer = await eve.post(f"/upload?key=a&uploader={name}", files={"file": ("pie.jpg", PIE)})
            assert answer.status_code == 401
            await eve.post("/hello")
            async with eve.websocket(f"/progress?uploader={name}") as ws:
                assert await ws.receive_json() == []


async def test_a_desk_is_forgotten_with_its_last_page(client):
    await client.post("/hello")
    for _ in range(2):
        async with client.websocket("/progress") as ws:
            assert await ws.receive_json() == []
            await client.post("/upload?key=a", files={"file": ("pie.jpg", PIE)})


@pytest.mark.parametrize(
    ("key", "files", "status"),
    [
        ("a", {"file": ("pie.jpg", PIE)}, 413),
        ("a" * 41, {"file": ("pie.jpg", b"")}, 400),
        ("", {"file": ("pie.jpg", b"")}, 400),
        ("a", {"other": ("pie.jpg", b"")}, 400),
        ("a", {"file": (None, b"text and no file")}, 400),
    ],
)
async def test_what_is_refused(key, files, status):
    async with TestClient(Uploads(max_body_size=1000)) as client:
        await client.post("/hello")
        assert (await client.post(f"/upload?key={key}", files=files)).status_code == status
