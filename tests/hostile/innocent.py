"""An innocent client: what an echo takes on the server under attack, and at the same time on one that is left alone.

Time in which a server could go on, and others had the processor, is not its own, so it does not count: a server that
works is put behind by a busy machine, and one that is left alone is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from tests.servers.client import Client
from tests.serving import PATIENCE, Server

#: During how many echoes an attack goes on, at least; a short one is repeated.
ECHOES = 100
#: What an echo may always take, in seconds: below this the scheduler of a busy machine makes the difference.
GRAIN = 0.01


@dataclass
class Latency:
    """What echoes took, in seconds."""

    control: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def ratio(self, quantile: float) -> float:
        """How many times as long a quantile is beside the attack as it is on the idle control."""
        return _quantile(self.beside, quantile) / max(_quantile(self.control, quantile), GRAIN)

    def __str__(self) -> str:
        shown = {
            name: " ".join(f"{_quantile(seconds, q) * 1000:.2f}" for q in (0.5, 0.99, 1))
            for name, seconds in vars(self).items()
        }
        return f"{len(self.beside)} echoes; median, p99 and longest in ms: {shown}"


def _quantile(seconds: list[float], quantile: float) -> float:
    return sorted(seconds)[min(int(len(seconds) * quantile), len(seconds) - 1)]


class Innocent:
    """A client with one socket to each of two servers, which uses them in turn."""

    def __init__(self, attacked: Server, control: Server) -> None:
        self._stack = ExitStack()
        self._here, self._there = (
            self._stack.enter_context(Client(server, "echo", "innocent")) for server in (attacked, control)
        )

    def echo_beside(self, attack: Callable[[threading.Event], Any]) -> tuple[Latency, list[Any]]:
        """Send and receive for as long as an attack takes, and for a number of echoes at least.

        Args:
            attack: Is called in a thread, again and again until there were enough echoes, which sets the event.

        Returns:
            What the echoes took, and what came of each attack.
        """
        latency, outcomes, enough, errors = Latency(), [], threading.Event(), []

        def attack_again_and_again() -> None:
            try:
                while not outcomes or not enough.is_set():
                    outcomes.append(attack(enough))
            except BaseException as error:
                errors.append(error)

        attacker = threading.Thread(target=attack_again_and_again)
        attacker.start()
        try:
            while attacker.is_alive():
                latency.control.append(_round_trip(self._there))
                latency.beside.append(_round_trip(self._here))
                if len(latency.beside) >= ECHOES:
                    enough.set()
        finally:
            enough.set()
            attacker.join(PATIENCE)
        if errors:
            raise errors[0]
        return latency, outcomes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _round_trip(client: Client) -> float:
    began, waited = perf_counter(), _waited(client.server)
    client.send("are you there?")
    assert client.receive() == "are you there?"
    waited = _waited(client.server) - waited
    return max(perf_counter() - began - waited, 0)


def _waited(server: Server) -> float:
    """For how many seconds a server's main thread has waited for a processor; 0 where that is not counted."""
    try:
        _, nanoseconds, _ = Path(f"/proc/{server.pid}/schedstat").read_text("ascii").split()
    except FileNotFoundError:
        return 0
    return int(nanoseconds) / 1e9
