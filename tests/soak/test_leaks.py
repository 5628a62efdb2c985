"""The measurement of what is left of requests and sockets, with fewer of them: nothing is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.leaks import BOUNDS, SAMPLES, Sample, leaks, measure

REQUESTS = 1000
CLEAN = Sample(
    0, resident=30_000_000, objects=30_000, tasks=0, threads=2, files=17, sockets=0, sessions=9, begun=9
)


async def test_nothing_is_left_of_requests_and_sockets() -> None:
    samples = await measure(REQUESTS)
    assert samples[-1].requests >= REQUESTS
    assert leaks(samples) == [], samples
    assert samples[-1].sessions < samples[-1].begun / 2, "what has expired stays in memory"


async def test_what_is_left_is_noticed() -> None:
    assert "objects" in leaks(await measure(REQUESTS, "leaky"))


@pytest.mark.parametrize("name", BOUNDS)
def test_what_grows_beyond_its_bound_is_noticed(name: str) -> None:
    for more, found in ((0, []), (BOUNDS[name] + 1, [name])):
        end = replace(CLEAN, **{name: getattr(CLEAN, name) + more})
        assert leaks([CLEAN] * (SAMPLES // 2) + [end] * (SAMPLES - SAMPLES // 2)) == found
