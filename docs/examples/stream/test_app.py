"""The streams' rules, without a browser."""

import json

import pytest
from micropie.testing import TestClient

from app import STORY, Stream

pytestmark = pytest.mark.asyncio


async def told(lines):
    """Return the next text of a stream of events."""
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream has ended")


async def test_a_story_to_its_end():
    app = Stream()
    async with TestClient(app) as client:
        answer = await client.get("/story?pause=0")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text.split() == STORY.split()
    assert [text for _, text in app.news] == ["A story was told to its end."]


async def test_a_story_that_is_left():
    app = Stream()
    async with TestClient(app) as client:
        async with client.stream("GET", "/story?pause=0") as answer:
            pieces = answer.aiter_text()
            assert [await anext(pieces) for _ in range(3)] == ["The ", "oven ", "is "]
        [(_, text)] = app.news
        assert text.startswith("A story ended after ")


async def test_every_tab_hears_of_the_others():
    app = Stream()
    async with TestClient(app) as client, client.stream("GET", "/events") as first:
        assert first.headers["content-type"] == "text/event-stream"
        lines = first.aiter_lines()
        assert await told(lines) == "A tab listens; now 1."
        async with client.stream("GET", "/events") as second:
            others = second.aiter_lines()
            assert [await told(others), await told(others)] == [
                "A tab listens; now 1.",
                "A tab listens; now 2.",
            ]
        assert await told(lines) == "A tab listens; now 2."
        assert await told(lines) == "A tab left; now 1."
    assert app.tabs == 0


async def test_who_comes_back_gets_what_was_missed():
    app = Stream()
    async with TestClient(app) as client:
        for _ in range(2):
            await client.get("/story?pause=0")
        (first, _), (second, _) = app.news
        for seen, stories in {"": 2, first: 1, second: 0, "unknown": 2}.items():
            async with client.stream("GET", "/events", headers={"Last-Event-ID": seen}) as answer:
                lines = answer.aiter_lines()
                for _ in range(stories):
                    assert await told(lines) == "A story was told to its end."
                assert "tab" in await told(lines)
