"""How long, and on which processors, is measured."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field


def processors() -> tuple[int, int]:
    """One processor for the apps and one for clients, the same if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@dataclass(frozen=True)
class Options:
    """What the command line decides.

    Attributes:
        quick: Whether a first impression is enough.
        rounds: How many pairs of measurements there are in process; what takes longer has fewer.
        scenarios: Which scenarios; all, if there are none.
        processor: The processor of the apps.
        client_processor: The processor of the clients of servers.
    """

    quick: bool = False
    rounds: int = 31
    scenarios: tuple[str, ...] = ()
    processor: int = field(default_factory=lambda: processors()[0])
    client_processor: int = field(default_factory=lambda: processors()[1])

    @property
    def round_ms(self) -> float:
        """How long one measurement in process takes, in milliseconds."""
        return 8 if self.quick else 20

    @property
    def fewer_rounds(self) -> int:
        """How many pairs there are of what takes long."""
        return max(1, self.rounds // 4)

    @property
    def seconds(self) -> float:
        """How long one measurement on a server takes."""
        return 0.1 if self.quick else 0.3

    @staticmethod
    def tell(line: str) -> None:
        """Say how far it is: a full run takes long."""
        print(line, file=sys.stderr, flush=True)
