"""The measurement of many sockets, with fewer of them: each is served to its end."""

from __future__ import annotations

import pytest

from tests.soak.sockets import APPS, Result, measure

SOCKETS = 500


@pytest.mark.parametrize("app", APPS)
async def test_each_socket_is_served_to_its_end(app: str) -> None:
    result = await measure(app, SOCKETS)
    assert result.got_message == SOCKETS
    assert result.close_codes == {1012: SOCKETS}
    assert result.counted == dict.fromkeys(APPS[app], SOCKETS)
    assert result.is_complete()


@pytest.mark.parametrize(
    "missing",
    [{"got_message": 1}, {"close_codes": {1012: 1, 1006: 1}}, {"counted": {"opened": 2, "finally": 1}}],
    ids=str,
)
def test_a_socket_that_is_not_is_noticed(missing: dict[str, object]) -> None:
    complete = {"got_message": 2, "close_codes": {1012: 2}, "counted": {"opened": 2, "finally": 2}}
    costs = {"bytes_per_socket": 20_000, "broadcast_seconds": 0.1, "exit_seconds": 0.1}
    assert Result(app="plain", sockets=2, **costs, **complete).is_complete()
    assert not Result(app="plain", sockets=2, **costs, **(complete | missing)).is_complete()
