"""The process of a server: uvicorn with one app, on a socket that it inherits. It is run as a file, as `driver` is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn

sys.path.append(str(Path(__file__).parents[2]))


def main() -> None:
    module, app, descriptor, processor = sys.argv[1:]
    os.sched_setaffinity(0, {int(processor)})
    uvicorn.run(
        f"benchmarks.apps.{module}:{app}",
        fd=int(descriptor),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=None,  # A ping in the wrong moment would be taken for work.
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
