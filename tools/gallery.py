"""Serve the built docs at one address, with every example running inside them: ``python tools/gallery.py``.

The gallery is a MicroPie app. The docs are its root, and the app of each folder ``docs/examples/NAME`` is mounted at
``/live/NAME/``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from micropie import App, HttpMiddleware, Request

sys.path.append(str(Path(__file__).parents[1]))  # For tools; last, so that micropie is the installed one.
from tools.examples import EXAMPLES, examples

BUILT = EXAMPLES.parent / "_build" / "gallery"
PORT = 8765  # Not 8000: that is where the pages tell their reader to run an app.


class Pages(HttpMiddleware):
    """Hands whatever is not an example to the built docs."""

    def __init__(self, built: Path) -> None:
        # Starlette turns what StaticFiles raises, for a typo or a POST, into answers.
        self._files = Starlette(routes=[Mount("/", StaticFiles(directory=built, html=True))])
        self._examples = {f"/live/{name}" for name in examples()}

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        if request.path in self._examples:  # The page's relative addresses need a slash at the end.
            return {"status_code": 308, "headers": [("Location", f"{request.path}/")]}
        if not request.path.startswith("/live/"):
            request._subapp, request._subapp_path = self._files, request.path
        return None


def load(name: str, folder: Path) -> Any:
    """Return the app of one example. Each file is called ``app.py``, so each gets a module name of its own."""
    spec = importlib.util.spec_from_file_location(f"gallery_{name}", folder / "app.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # An app finds its templates by the module that defines it.
    spec.loader.exec_module(module)
    return module.app


def build(built: Path) -> App:
    """Return the gallery over the docs in the folder ``built``."""
    gallery = App()
    gallery.middlewares.append(Pages(built))
    for name, folder in examples().items():
        gallery.mount(f"/live/{name}", load(name, folder))
    return gallery


def listen(port: int | None, fd: int | None) -> socket.socket:
    """Return a listening socket: the inherited one, the one asked for, else the usual one or any that is free."""
    if fd is not None:
        return socket.socket(fileno=fd)
    try:
        return socket.create_server(("127.0.0.1", PORT if port is None else port))
    except OSError:
        if port is not None:
            raise
        return socket.create_server(("127.0.0.1", 0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Serve the built docs with every example running inside them."
    )
    parser.add_argument(
        "--port", type=int, help=f"the port on this machine (default: {PORT}, else any free one)"
    )
    parser.add_argument(
        "--fd", type=int, help="a listening socket to use instead, inherited as this file descriptor"
    )
    parser.add_argument("--built", type=Path, default=BUILT, help="the folder of the built docs")
    options = parser.parse_args()
    if not (options.built / "index.html").is_file():
        parser.exit(1, f"There are no built docs in {options.built}. Run: tox -e gallery\n")
    try:
        sock = listen(options.port, options.fd)
    except OSError as error:
        parser.exit(1, f"Cannot listen on port {options.port}: {error.strerror}.\n")
    app = build(options.built)
    print(f"Gallery at http://127.0.0.1:{sock.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        # A stream of events is an answer that never ends, so the end of the server does not wait for it for long.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
