"""The pages about deployment: their units, Dockerfile, configuration and commands, each as its reader uses it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect

from tests.helpers import ROOT
from tests.missing import missing
from tests.serving import PATIENCE, Server, serve
from tools.blocks import DOCS, Run, blocks, find_run, runs

HOWTO = DOCS / "howto"


def sources(page: str) -> dict[str, str]:
    """The files of a page by their caption."""
    return {block.caption: block.source for block in blocks(HOWTO / f"{page}.rst") if block.caption}


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=PATIENCE, **options)


# Servers


@pytest.mark.parametrize("run", runs(HOWTO / "deployment.rst"), ids=lambda run: run.command.split()[0])
def test_each_server_runs_the_app(run: Run, tmp_path: Path) -> None:
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        # Daphne has no lifespan: the page says so in bold.
        assert get(server.url).json()["open"] == ("daphne" not in run.command)
        with connect(f"{server.ws_url}echo", open_timeout=PATIENCE) as ws:
            ws.send("hi")
            assert ws.recv(timeout=PATIENCE) == "hi"


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    run = find_run(HOWTO / "deployment.rst", "deployment-app")
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        server.wait_for_log("Application startup complete.")
        victim = get(server.url).json()["process"]
        os.kill(victim, signal.SIGKILL)
        server.wait_for_log(f"Child process [{victim}] died")
        assert get(server.url).json()["process"] != victim


# systemd


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The folder of the page, with its units; the one of the service runs this Python's uvicorn there."""
    folder = tmp_path / "shop"
    folder.mkdir()
    bin_ = folder / ".venv" / "bin"
    bin_.mkdir(parents=True)
    uvicorn = bin_ / "uvicorn"
    uvicorn.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m uvicorn "$@"\n', encoding="utf-8")
    uvicorn.chmod(0o755)
    for name, source in sources("systemd").items():
        (folder / name).write_text(source.replace("/srv/shop", str(folder)), encoding="utf-8")
    return folder


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("There is no systemd-analyze.")
    [command] = [
        command
        for block in blocks(HOWTO / "systemd.rst")
        for _, command in block.commands
        if command.startswith("systemd-analyze")
    ]
    done = subprocess.run(
        shlex.split(command), cwd=units, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_little_exposed(units: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("There is no systemd-analyze.")
    command = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=30",
        "--no-pager",
        "./shop.service",
    ]
    done = subprocess.run(command, cwd=units, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout


def service(units: Path, key: str) -> str:
    [value] = re.findall(rf"^{key}=(.*)$", (units / "shop.service").read_text(), re.MULTILINE)
    return str(value)


def test_systemd_hands_the_socket_over(units: Path) -> None:
    """The unit's own command, started by systemd's own socket activation on the first connection."""
    if shutil.which("systemd-socket-activate") is None:
        missing("There is no systemd-socket-activate.")
    path = units / "shop.sock"
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", str(path), *shlex.split(service(units, "ExecStart"))],
        cwd=units,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    drain = threading.Thread(target=process.stdout.read)  # It must not fill the pipe.
    try:
        assert "Listening on" in process.stdout.readline()
        drain.start()
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=PATIENCE) as client:
            assert client.get("http://127.0.0.1:8000/").json()["version"] == 1
        with unix_connect(str(path), uri="ws://127.0.0.1:8000/echo") as ws:
            ws.send("hi")
            assert ws.recv(timeout=PATIENCE) == "hi"
        process.terminate()
        # uvicorn's end by the signal is what systemd takes for a clean one.
        assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if drain.ident is not None:
            drain.join(PATIENCE)
        process.stdout.close()


@contextmanager
def the_service(units: Path) -> Iterator[Server]:
    """The unit's command on a socket that stays open while nobody serves, as systemd holds it."""
    command = service(units, "ExecStart").replace(" --fd 3", "").replace(f"{units}/.venv/bin/", "")
    with serve(units, command) as server:
        yield server


def change_version(units: Path) -> None:
    app = units / "app.py"
    app.write_text(app.read_text().replace("VERSION = 1", "VERSION = 2"), encoding="utf-8")


def test_a_restart_refuses_no_connection(units: Path) -> None:
    with the_service(units) as server, connect(f"{server.ws_url}echo", open_timeout=PATIENCE) as ws:
        assert get(server.url).json()["version"] == 1
        change_version(units)
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        # Nobody serves now. They connect and ask, and get their answers from the next version.
        answers: list[object] = []

        def visit() -> None:
            answers.append(get(server.url).json()["version"])

        def talk() -> None:
            with connect(f"{server.ws_url}echo", open_timeout=PATIENCE) as ws:
                ws.send("hi")
                answers.append(ws.recv(timeout=PATIENCE))

        visitors = [threading.Thread(target=what) for what in (visit, talk) for _ in range(20)]
        for visitor in visitors:
            visitor.start()
        server.start()
        for visitor in visitors:
            visitor.join(PATIENCE)
        assert sorted(map(str, answers)) == ["2"] * 20 + ["hi"] * 20


def test_a_reload_leaves_somebody_to_answer_all_the_time(units: Path) -> None:
    assert service(units, "ExecReload") == "/bin/kill -HUP $MAINPID"
    with the_service(units) as server:
        assert get(server.url).json()["version"] == 1
        change_version(units)
        server.tell_to_stop(signal.SIGHUP)
        seen = [get(server.url).json()]
        while seen[-1]["version"] != 2:
            seen.append(get(server.url).json())  # Each is answered, by one version or the other.
        with connect(f"{server.ws_url}echo", open_timeout=PATIENCE) as ws:
            ws.send("hi")
            assert ws.recv(timeout=PATIENCE) == "hi"


# Containers


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its words."""
    lines = re.sub(r"\\\n\s*", "", dockerfile).splitlines()
    found = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(instruction, words) for instruction, words in found]


DOCKERFILE = instructions(sources("containers")["Dockerfile"])
(START,) = [json.loads(words) for instruction, words in DOCKERFILE if instruction == "CMD"]
(CHECK,) = [json.loads(words.partition(" CMD ")[2]) for name, words in DOCKERFILE if name == "HEALTHCHECK"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """What the Dockerfile makes, without Docker: its folder, and an environment whose Python has its packages.

    The instructions are carried out in their order, with a fresh virtual environment in place of the image's Python.
    """
    context, root = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("root")
    for name, source in sources("containers").items():
        (context / name).write_text(source, encoding="utf-8")
    venv.create(context / "python", with_pip=True)
    ours = re.compile(r"TOX_|COVERAGE_|PYTEST_|PYTHON(SAFE)?PATH|VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
    environment["PATH"] = f"{context}/python/bin:{environment['PATH']}"

    def run(command: str, folder: Path) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    install = (DOCS / "_install.rst").read_text(encoding="utf-8")
    [wheel] = re.findall(r"\$ (pip wheel .*)", install)
    run(wheel.replace("../micropie", str(ROOT)), context)
    for instruction, words in DOCKERFILE:
        match instruction:
            case "FROM":
                assert re.fullmatch(r"python:3\.1[1-4]-slim", words)
            case "ENV":
                name, _, value = words.partition("=")
                environment[name] = value
            case "WORKDIR":
                root = root.joinpath(words.lstrip("/"))
                root.mkdir(parents=True)
            case "COPY":
                source, target = words.split()
                if source.endswith("/"):
                    shutil.copytree(context / source, root / target)
                else:
                    shutil.copy(context / source, root / target)
            case "RUN":
                run(words, root)
            case "USER":
                assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", words)  # Not root.
            case "EXPOSE":
                assert words == START[START.index("--port") + 1]
            case _:
                assert instruction in ("HEALTHCHECK", "CMD")
    return root, environment


def test_the_image_serves_and_says_whether_it_is_well(image: tuple[Path, dict[str, str]]) -> None:
    folder, environment = image
    command = shlex.join(START).replace("--host 0.0.0.0 --port 8000 ", "")
    with closing(Server(folder, command, environment=environment)) as server:

        def check() -> int:
            words = [word.replace(":8000/", f":{server.port}/") for word in CHECK]
            return subprocess.run(
                words, env=environment, capture_output=True, timeout=PATIENCE, check=False
            ).returncode

        server.start()
        assert "Shop" in get(server.url).text
        assert check() == 0
        with connect(f"{server.ws_url}echo", open_timeout=PATIENCE) as ws:
            ws.send("hi")
            assert ws.recv(timeout=PATIENCE) == "hi"
            server.stop()
        server._socket.close()  # Else the check would wait in its queue.
        assert check() == 1


# Health checks and logs

PAGE = HOWTO / "health-and-logs.rst"


def test_the_log_says_when_and_what_and_leaves_checks_out(tmp_path: Path) -> None:
    run = find_run(PAGE, "health-app")
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        for path in ("alive", "ready", "", "nothing"):
            get(server.url + path)
        server.wait_for_log('"GET /nothing HTTP/1.1" 404')
        log = server.log()
    lines = [
        re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ", "TIME ", re.sub(r":\d+ - ", ":PORT - ", line))
        for line in log.splitlines()
    ]
    served = lines[lines.index("TIME INFO shop: somebody looks at the shop") :]
    assert served[:3] == [
        "TIME INFO shop: somebody looks at the shop",
        'TIME INFO uvicorn.access: 127.0.0.1:PORT - "GET / HTTP/1.1" 200',
        'TIME INFO uvicorn.access: 127.0.0.1:PORT - "GET /nothing HTTP/1.1" 404',
    ]
    assert all(line.startswith("TIME ") for line in lines)
    # What the page shows is what it says.
    [shown] = [block.source for block in blocks(PAGE) if block.name == "health-log"]
    shown_lines = [
        re.sub(r"^\S+ \S+ ", "TIME ", re.sub(r":\d+ - ", ":PORT - ", line)) for line in shown.splitlines()
    ]
    assert shown_lines[1:] == served[:2]
    assert shown_lines[0] in lines


def test_a_check_that_fails_is_in_the_log(tmp_path: Path) -> None:
    run = find_run(PAGE, "health-app")
    run.write(tmp_path)
    app = tmp_path / "app.py"
    app.write_text(app.read_text().replace("SELECT 1", "SELECT no_pies"), encoding="utf-8")
    with serve(
        tmp_path, run.command, own_errors=["sqlite3.OperationalError: no such column: no_pies"]
    ) as server:
        answer = get(f"{server.url}ready")
        assert (answer.status_code, answer.text) == (503, "503 Service Unavailable: not ready")
        assert get(f"{server.url}alive").status_code == 200
        server.wait_for_log('"GET /ready HTTP/1.1" 503')
