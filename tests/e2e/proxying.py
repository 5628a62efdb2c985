"""Run nginx for a test: in the foreground, on sockets that are bound and listening before it starts.

nginx takes over sockets whose numbers stand in the environment variable NGINX, as it does when it replaces its own
program, and uses each for the `listen` directive with its address. So there is no race for a port, and a client that
comes early waits in the backlog. (Without a master process nginx 1.22 crashes when it inherits.)
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.serving import PATIENCE

# What a distribution's nginx.conf says around the files in its conf.d. Whatever nginx writes stays in the folder.
AROUND = """\
daemon off;
worker_processes 1;
error_log stderr notice;
pid nginx.pid;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}}
"""


def find_nginx() -> str | None:
    """Return the program, which Debian keeps where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def proxy(directory: Path, site: str, sockets: Sequence[socket.socket]) -> Iterator[list[str]]:
    """Run nginx with ``site``, a file for conf.d, for the length of a ``with`` block; yield its log.

    The log is complete when the block has ended, and it is shown with any failure of the block.
    """
    user = "user root root;" if os.geteuid() == 0 else ""  # Another user's worker may not enter the folder.
    (directory / "nginx.conf").write_text(AROUND.format(user=user), encoding="utf-8")
    (directory / "site.conf").write_text(site, encoding="utf-8")
    process = _start(directory, [sock.fileno() for sock in sockets])
    log: list[str] = []
    try:
        try:
            _read_until_ready(process, log)
            yield log
        finally:
            log += _stop(process)
    except BaseException as error:
        error.add_note(f"nginx wrote:\n{''.join(log)}")
        raise


def _start(directory: Path, inherited: list[int]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [find_nginx() or "nginx", "-p", f"{directory}/", "-c", "nginx.conf", "-e", "stderr"],
        env=os.environ | {"NGINX": "".join(f"{number};" for number in inherited)},
        pass_fds=inherited,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # So that one call ends its worker too.
    )


def _read_until_ready(process: subprocess.Popen[str], log: list[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if "start worker process " in line:
            return
    raise AssertionError("nginx did not start")


def _stop(process: subprocess.Popen[str]) -> list[str]:
    process.terminate()
    try:
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return said.splitlines(keepends=True)
