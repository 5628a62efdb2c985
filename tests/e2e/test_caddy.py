"""The published Caddyfile in front of the page's app: TLS, the name, WebSockets, streams and limits."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.e2e.conftest import ROOT, missing
from tests.serving import PATIENCE, Server, serve
from tools.blocks import find_run

HOWTO = ROOT / "docs" / "howto"
PUBLISHED = (HOWTO / "Caddyfile").read_text(encoding="utf-8")
NAME = "example.com"


class Front:
    """Caddy at a port of this machine, under the name of the file."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.port = port
        self._trust = trust
        self.origin = f"https://{NAME}:{port}"

    def http(self) -> httpx.Client:
        """A client that finds the name here."""
        # HTTPX resolves no names of ours: it connects to the address, and TLS and Host have the name.
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"Host": f"{NAME}:{self.port}"},
            verify=self._trust,
            timeout=PATIENCE,
        )

    def websocket(self, path: str, origin: str) -> ClientConnection:
        return connect(
            f"wss://{NAME}:{self.port}{path}",
            sock=socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE),
            ssl=self._trust,
            origin=Origin(origin),
            open_timeout=PATIENCE,
        )


def fitted(app: Server, port: int, certificate: Path) -> str:
    """The published file with other addresses and a certificate of the test's own."""
    text = PUBLISHED
    names = f"{NAME}:{port}, 127.0.0.1:{port}"
    for line, replacement in [
        (rf"{re.escape(NAME)} {{", f"{names} {{\n\tbind 127.0.0.1\n\ttls {certificate} {certificate}"),
        (r"\treverse_proxy 127\.0\.0\.1:8000", f"\treverse_proxy 127.0.0.1:{app.port}"),
    ]:
        text, found = re.subn(f"^{line}$", replacement, text, flags=re.MULTILINE)
        assert found == 1, line
    return f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caddy")


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[Server]:
    run = find_run(HOWTO / "proxies.rst", "proxies-app")
    [command] = re.findall("uvicorn app:app .*", PUBLISHED)
    assert run.command == command
    run.write(folder)
    with serve(folder, command.replace("--port 8000 ", "")) as server:
        yield server


@pytest.fixture(scope="module")
def front(app: Server, folder: Path) -> Iterator[Front]:
    """Caddy, which binds its port itself: until it does, the port is held by a socket that never listens."""
    program = shutil.which("caddy")
    if program is None:
        missing("There is no caddy.")
    authority = trustme.CA()
    certificate = folder / "certificate.pem"
    authority.issue_cert(NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with closing(socket.socket()) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        (folder / "Caddyfile").write_text(fitted(app, port, certificate), encoding="utf-8")
        process = subprocess.Popen(
            [program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
            cwd=folder,
            env=os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        said: list[str] = []
        try:
            for line in process.stderr:
                said.append(line)
                if "serving initial configuration" in line:
                    break
            else:
                raise AssertionError(f"Caddy did not start:\n{''.join(said)}")
            yield Front(port, trust)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


def test_the_published_file_is_as_caddy_would_format_it(tmp_path: Path) -> None:
    if shutil.which("caddy") is None:
        missing("There is no caddy.")
    for command in (["caddy", "fmt", "Caddyfile"], ["caddy", "validate", "--config", "Caddyfile"]):
        done = subprocess.run(
            command,
            cwd=HOWTO,
            env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert command[1] != "fmt" or done.stdout == PUBLISHED


def test_the_app_learns_who_asks_and_that_it_was_https(front: Front) -> None:
    forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "ftp", "X-Forwarded-Host": "evil.example"}
    for headers in ({}, forged):
        with front.http() as client:
            answer = client.get("/", headers=headers)
            assert answer.json() == {"client": "127.0.0.1", "scheme": "https"}
            assert "; Secure" in answer.headers["Set-Cookie"]


def test_a_websocket_passes_with_its_close_code_and_a_foreign_page_does_not(
    front: Front, app: Server
) -> None:
    with front.websocket("/echo", front.origin) as ws:
        ws.send("hi")
        assert ws.recv(timeout=PATIENCE) == "hi"
        app.stop()
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=PATIENCE)
        assert ws.close_code == 1012
    app.start()
    with pytest.raises(InvalidStatus, match="403"):
        front.websocket("/echo", "https://evil.example")


def test_a_stream_comes_piece_by_piece_and_its_end_is_told(front: Front, app: Server) -> None:
    with front.http() as client, client.stream("GET", "/ticks") as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines)] == ["0", "1"]
    app.wait_for_log("Nobody reads any more.")


def test_a_body_that_is_too_large_is_413(front: Front) -> None:
    with front.http() as client:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post("/", content=bytes(17 << 20), headers=form).status_code == 413
