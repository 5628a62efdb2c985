"""Whose pages may open a WebSocket, seen from Chromium: to the server itself, and through nginx, with and without TLS.

The browser knows a few names, and finds each on this machine: at the ports 80 and 443, where no port stands in the
address, it finds nginx.
"""

from __future__ import annotations

import itertools
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from playwright.sync_api import Browser, BrowserType, expect

from micropie import App
from tests.e2e import browsing
from tests.e2e.browsing import TALK, Visitor
from tests.e2e.conftest import ROOT, missing
from tests.e2e.proxying import find_nginx, proxy
from tests.serving import PATIENCE, Server, serve

HERE = Path(__file__).parent / "origins"
PUBLISHED = (ROOT / "docs" / "howto" / "nginx.conf").read_text(encoding="utf-8")
(COMMAND,) = re.findall("uvicorn app:app .*", PUBLISHED)
NAMES = ["example.com", "blog.example.com", "friend.test", "evil.test"]

Visit = Callable[..., Visitor]
Servers = dict[str, Server]


# What stands between the browser and the app


class Front:
    """The addresses at which nginx is found, and its certificate."""

    def __init__(self, certificate: Path) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in ("http", "https")]
        self.http, self.https = (sock.getsockname()[1] for sock in self.sockets)
        self.certificate = certificate

    def site(self, app: Server, *headers: str, prefix: str = "") -> str:
        """The file for conf.d that passes everything below ``prefix`` on to ``app``, with these header fields."""
        fields = "".join(f"proxy_set_header {field}; " for field in headers)
        return f"""server {{
            listen 127.0.0.1:{self.http};
            listen 127.0.0.1:{self.https} ssl;
            ssl_certificate {self.certificate};
            ssl_certificate_key {self.certificate};
            location {prefix}/ {{
                proxy_pass http://127.0.0.1:{app.port}{"/" if prefix else ""};
                proxy_http_version 1.1;
                {fields}
            }}
        }}"""

    def published(self, app: Server) -> str:
        """The file that the documentation shows, with other addresses and another certificate."""
        text = PUBLISHED
        for line, times, fitted in [
            (r"listen 80;", 1, f"listen 127.0.0.1:{self.http};"),
            (r"listen 443 ssl;", 1, f"listen 127.0.0.1:{self.https} ssl;"),
            (r"listen \[::\]:(80|443 ssl);", 2, ""),  # Not every machine has IPv6.
            (r"ssl_certificate .*;", 1, f"ssl_certificate {self.certificate};"),
            (r"ssl_certificate_key .*;", 1, f"ssl_certificate_key {self.certificate};"),
            (r"proxy_pass http://127\.0\.0\.1:8000;", 1, f"proxy_pass http://127.0.0.1:{app.port};"),
        ]:
            text, found = re.subn(rf"^ +{line}$", fitted, text, flags=re.MULTILINE)
            assert found == times, f"nginx.conf has {found} lines like {line!r}, not {times}"
        return text


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The addresses of nginx, in front of whatever app a test chooses."""
    certificate = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    trustme.CA().issue_cert(*NAMES, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    front = Front(certificate)
    with ExitStack() as stack:
        for sock in front.sockets:
            stack.enter_context(sock)
        yield front


@pytest.fixture
def run_nginx(tmp_path: Path, front: Front) -> Callable[[str], AbstractContextManager[list[str]]]:
    """Return a function that runs nginx with a file for conf.d at the addresses of ``front``."""
    if find_nginx() is None:
        missing("There is no nginx, which is the proxy of these tests.")
    return lambda site: proxy(tmp_path, site, front.sockets)


RunNginx = Callable[[str], AbstractContextManager[list[str]]]


@pytest.fixture(scope="module")
def all_servers() -> Iterator[Servers]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        servers: Servers = {}
        for app in ("app", "strict", "allowing"):
            servers[app] = stack.enter_context(serve(HERE, COMMAND.replace(":app", f":{app}")))
            patch.setenv("ALLOWED_ORIGINS", f"http://127.0.0.1:{servers['app'].port}")
        yield servers


@pytest.fixture
def servers(all_servers: Servers) -> Iterator[Servers]:
    """The apps of app.py, each on a server of its own; what they wrote is shown with a test's failure."""
    yield all_servers
    for name, server in all_servers.items():
        sys.stdout.write(f"{name}:\n{server.log()}")


# The browser


@pytest.fixture(scope="module")
def browser(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any], front: Front
) -> Iterator[Browser]:
    """A Chromium that finds every name of these tests on this machine, and no other."""
    rules = [
        f"MAP {name}{port} 127.0.0.1{found}"
        for name in NAMES
        for port, found in [(":80", f":{front.http}"), (":443", f":{front.https}"), ("", "")]
    ]
    rules += ["MAP localhost 127.0.0.1", "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"]
    flags = [flag for flag in browser_type_launch_args["args"] if "host-resolver-rules" not in flag]
    flags.append(f"--host-resolver-rules={', '.join(rules)}")
    with browser_type.launch(**browser_type_launch_args | {"args": flags}) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let visitors go to the names that lead to this machine."""
    here = "|".join(map(re.escape, ["127.0.0.1", "localhost", *NAMES]))
    monkeypatch.setattr(browsing, "ELSEWHERE", re.compile(rf"^(?!data:|https?://(?:{here})[:/])"))


def expect_open(visitor: Visitor, address: str, name: str = "nobody") -> None:
    """Let the visitor's page open a WebSocket; the app has to know them as ``name``."""
    assert visitor.talk(address, "hi") == {"received": [f"{name}: hi"], "code": 1000, "reason": ""}


marks = itertools.count()


def expect_refused(visitor: Visitor, address: str, server: Server, *named: str) -> None:
    """Let the visitor's page try to open a WebSocket; the app has to refuse, with one line that names all of these."""
    before, mark = len(server.log()), next(marks)
    visitor.expect_error("Unexpected response code: 403")
    talk = visitor.page.frames[-1].evaluate(TALK, [f"{address}?{mark}", ["hi"]])
    assert talk == {"received": [], "code": 1006, "reason": ""}
    assert visitor.sockets[-1].error == "Error during WebSocket handshake: Unexpected response code: 403"
    server.wait_for_log(f'/echo?{mark}" 403')  # The server's own line, which comes after the app's.
    (line,) = [line for line in server.log()[before:].splitlines() if "origin" in line.lower()]
    assert all(word in line for word in [*map(repr, named), "allowed_origins"]), line


# To the server itself


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("http://127.0.0.1:{app}", "http://127.0.0.1:{app}"),
        ("http://localhost:{app}", "http://127.0.0.1:{app}"),
        ("http://127.0.0.1:{app}", "http://localhost:{app}"),
        ("http://example.com:{app}", "http://example.com:{app}"),
        # `app` is one of the origins that this app allows.
        ("http://127.0.0.1:{app}", "http://127.0.0.1:{allowing}"),
    ],
)
def test_own_and_allowed_pages_open_a_socket(page: str, address: str, servers: Servers, visit: Visit) -> None:
    ports = {name: server.port for name, server in servers.items()}
    expect_open(visit(page.format(**ports)), f"{address.format(**ports)}/echo")


@pytest.mark.parametrize(
    ("page", "app"),
    [
        ("http://127.0.0.1:{strict}", "app"),
        ("http://127.0.0.1:{strict}", "allowing"),
        ("http://localhost:{allowing}", "app"),
        ("http://evil.test:{app}", "app"),
        ("http://blog.example.com:{app}", "app"),
        # An allowed origin is one host at one port: another name of this machine is another origin.
        ("http://example.com:{app}", "allowing"),
        ("http://localhost:{app}", "allowing"),
    ],
)
def test_a_foreign_page_is_refused(page: str, app: str, servers: Servers, visit: Visit) -> None:
    page = page.format(**{name: server.port for name, server in servers.items()})
    host = f"127.0.0.1:{servers[app].port}"
    expect_refused(visit(page), f"http://{host}/echo", servers[app], page, host)


SANDBOX = """(attribute) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.setAttribute(attribute, attribute === "src" ? document.baseURI : "<p></p>");
  frame.onload = resolve;
  document.body.append(frame);
})"""


@pytest.mark.parametrize("attribute", ["src", "srcdoc"])
def test_a_sandboxed_frame_of_the_apps_own_page_is_refused(
    attribute: str, servers: Servers, visit: Visit
) -> None:
    app = servers["app"]
    visitor = visit(app.url)
    visitor.page.evaluate(SANDBOX, attribute)
    expect_refused(visitor, f"{app.url}echo", app, "null", f"127.0.0.1:{app.port}")


def test_a_name_that_was_made_to_lead_here_serves_a_page_where_names_are_not_checked(
    servers: Servers, visit: Visit
) -> None:
    """DNS rebinding: Origin and Host agree, so that only ``allowed_hosts`` tells."""
    open_to_all, strict = (f"http://evil.test:{servers[app].port}/" for app in ("app", "strict"))
    expect_open(visit(open_to_all), f"{open_to_all}echo")
    visitor = visit(f"http://127.0.0.1:{servers['strict'].port}/")
    for seen in (visitor.page.goto(strict), visitor.page.goto(f"{strict}echo")):
        assert seen is not None
        assert seen.status == 400
    visitor.expect_error("the server responded with a status of 400")
    visitor.expect_error("Unexpected response code: 400")
    assert visitor.talk(f"{strict}echo", "hi")["code"] == 1006


@pytest.fixture
def tls_server(front: Front) -> Iterator[Server]:
    """The app ``app`` on a server that ends TLS itself.

    Ask for it before ``visit``: it waits 30 seconds for a browser to answer the end of each idle connection.
    """
    keys = f"--ssl-keyfile {front.certificate} --ssl-certfile {front.certificate}"
    with serve(HERE, f"uvicorn app:app {keys}") as server:
        yield server


def test_tls_at_the_server_itself(tls_server: Server, visit: Visit) -> None:
    own, foreign = (f"https://{name}:{tls_server.port}" for name in ("example.com", "blog.example.com"))
    visitor = visit(f"{own}/login?name=Alice", ignore_https_errors=True)
    expect_open(visitor, f"{own}/echo", "Alice")
    visitor = visit(foreign, ignore_https_errors=True)
    expect_refused(visitor, f"{own}/echo", tls_server, foreign, f"example.com:{tls_server.port}")


# Through nginx

UPGRADE = ("Upgrade $http_upgrade", "Connection upgrade")


@pytest.mark.parametrize("page", ["http://example.com", "https://example.com", "http://127.0.0.1:{http}"])
@pytest.mark.parametrize("header", ["Host $http_host", "X-Forwarded-Host $http_host"])
def test_a_proxy_that_passes_the_name_on(
    page: str, header: str, servers: Servers, front: Front, run_nginx: RunNginx, visit: Visit
) -> None:
    page = page.format(http=front.http)
    with run_nginx(front.site(servers["app"], *UPGRADE, header)):
        expect_open(visit(page, ignore_https_errors=True), f"{page}/echo")


@pytest.mark.parametrize(
    ("header", "page", "host"),
    [
        # Without a word about it, nginx sends the address that it was given.
        (None, "http://example.com", "127.0.0.1:{app}"),
        (None, "https://example.com", "127.0.0.1:{app}"),
        (None, "http://127.0.0.1:{http}", "127.0.0.1:{app}"),
        # $host is without the port.
        ("Host $host", "http://127.0.0.1:{http}", "127.0.0.1"),
        ("Host $host", "https://example.com:{https}", "example.com"),
        # $server_port is nginx's own, which here, as behind a port that a container publishes, is not the browser's.
        ("Host $host:$server_port", "http://example.com", "example.com:{http}"),
    ],
)
def test_a_proxy_that_hides_the_name(
    header: str | None,
    page: str,
    host: str,
    servers: Servers,
    front: Front,
    run_nginx: RunNginx,
    visit: Visit,
) -> None:
    app = servers["app"]
    ports = {"app": app.port, "http": front.http, "https": front.https}
    page, host = page.format(**ports), host.format(**ports)
    with run_nginx(front.site(app, *UPGRADE, *([header] if header else []))):
        expect_refused(visit(page, ignore_https_errors=True), f"{page}/echo", app, page, host)


def test_behind_a_proxy_that_hides_the_name_the_origin_can_be_allowed(
    servers: Servers, front: Front, run_nginx: RunNginx, visit: Visit
) -> None:
    with run_nginx(front.site(servers["allowing"], *UPGRADE)):
        expect_open(visit("http://example.com"), "http://example.com/echo")


def test_a_proxy_that_knows_no_websockets(
    servers: Servers, front: Front, run_nginx: RunNginx, visit: Visit
) -> None:
    """Without Upgrade the handshake reaches the app as a GET, for which it has no such route."""
    with run_nginx(front.site(servers["app"])):
        visitor = visit("http://example.com")
        visitor.expect_error("Unexpected response code: 404")
        assert visitor.talk("http://example.com/echo", "hi")["code"] == 1006


@pytest.mark.parametrize(
    ("app", "headers", "secure"),
    [
        # To the app this is a browser on its own machine, without TLS.
        ("app", (), False),
        ("strict", (), True),  # `session_cookie_secure=True`
        ("app", ("X-Forwarded-Proto $scheme",), True),
        ("app", ("X-Forwarded-For $remote_addr",), True),
        ("app", ("Host $http_host",), True),
    ],
)
def test_the_session_cookie_is_secure_unless_the_proxy_leaves_no_trace(
    app: str,
    headers: tuple[str, ...],
    secure: bool,
    servers: Servers,
    front: Front,
    run_nginx: RunNginx,
    visit: Visit,
) -> None:
    with run_nginx(front.site(servers[app], *headers)):
        visitor = visit("https://example.com/login?name=Alice", ignore_https_errors=True)
        (cookie,) = visitor.page.context.cookies()
        assert cookie["secure"] is secure


@pytest.mark.parametrize(
    ("page", "name"),
    [
        # A site is a registrable domain and a scheme: its cookie comes along, and only Origin tells its pages apart.
        ("https://example.com/", "Alice"),
        ("https://blog.example.com/", "Alice"),
        ("https://friend.test/", "nobody"),
        ("http://example.com/", "nobody"),
    ],
)
def test_whose_sockets_carry_the_session(
    page: str, name: str, servers: Servers, front: Front, run_nginx: RunNginx, visit: Visit
) -> None:
    with run_nginx(front.site(servers["allowing"], *UPGRADE, "Host $http_host")):
        visitor = visit("https://example.com/login?name=Alice", ignore_https_errors=True)
        expect(visitor.page.get_by_text("Alice")).to_be_visible()
        visitor.page.goto(page)
        expect_open(visitor, "https://example.com/echo", name)


def test_below_a_prefix(front: Front, run_nginx: RunNginx, visit: Visit) -> None:
    with serve(HERE, "uvicorn app:app --root-path /app") as server:
        headers = (*UPGRADE, "Host $http_host", "X-Forwarded-Proto $scheme")
        with run_nginx(front.site(server, *headers, prefix="/app")):
            visitor = visit("https://example.com/app/", ignore_https_errors=True)
            visitor.page.goto("https://example.com/app/login?name=Alice")
            expect(visitor.page).to_have_url("https://example.com/app/")
            expect(visitor.page.get_by_text("Alice")).to_be_visible()
            (cookie,) = visitor.page.context.cookies()
            assert cookie["path"] == "/app"
            expect_open(visitor, "echo", "Alice")


# Through nginx with the file that the documentation shows

STREAM = """async () => {
  const options = { signal: AbortSignal.timeout(20000) };
  const reader = (await fetch("stream", options)).body.getReader();
  const text = async () => new TextDecoder().decode((await reader.read()).value);
  const first = await text();
  await fetch("go");
  return [first, await text()];
}"""

FORGED = """async () => (await fetch("seen", {
  headers: { "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.test" }
})).json()"""


@pytest.fixture
def published(front: Front, servers: Servers, run_nginx: RunNginx) -> Iterator[Server]:
    """The app ``app`` behind the nginx of the documentation, which nginx itself has nothing to say against."""
    with run_nginx(front.published(servers["app"])) as log:
        assert all("[notice]" in line for line in log)
        yield servers["app"]


def test_the_published_file_serves_the_app(published: Server, visit: Visit) -> None:
    visitor = visit("http://example.com/login?name=Alice", ignore_https_errors=True)
    expect(visitor.page).to_have_url("https://example.com/")
    expect(visitor.page.get_by_text("Alice")).to_be_visible()
    (cookie,) = visitor.page.context.cookies()
    assert (cookie["domain"], cookie["path"], cookie["sameSite"]) == ("example.com", "/", "Lax")
    assert cookie["secure"]
    assert cookie["httpOnly"]
    expect_open(visitor, "echo", "Alice")
    assert visitor.sockets[-1].url == "wss://example.com/echo"
    hosts = ["example.com", "example.com"]
    assert visitor.page.evaluate(FORGED) == {"scheme": "https", "client": "127.0.0.1", "hosts": hosts}


def test_the_published_file_serves_at_another_port(published: Server, front: Front, visit: Visit) -> None:
    own = f"https://example.com:{front.https}"
    expect_open(visit(own, ignore_https_errors=True), f"{own}/echo")


@pytest.mark.parametrize("page", ["https://evil.test", "https://blog.example.com"])
def test_the_published_file_lets_the_app_refuse_a_foreign_page(
    page: str, published: Server, visit: Visit
) -> None:
    visitor = visit(page, ignore_https_errors=True)
    expect_refused(visitor, "https://example.com/echo", published, page, "example.com")


def test_the_published_file_lets_the_app_refuse_a_sandboxed_frame(published: Server, visit: Visit) -> None:
    visitor = visit("https://example.com", ignore_https_errors=True)
    visitor.page.evaluate(SANDBOX, "src")
    expect_refused(visitor, "https://example.com/echo", published, "null", "example.com")


def test_the_published_file_streams(published: Server, visit: Visit) -> None:
    visitor = visit("https://example.com", ignore_https_errors=True)
    assert visitor.page.evaluate(STREAM) == ["first", "second"]
    visitor.page.close()
    published.wait_for_log("the stream ended")


@pytest.mark.usefixtures("published")
def test_the_published_file_takes_what_the_app_takes(front: Front) -> None:
    address, limit = f"https://127.0.0.1:{front.https}/upload", App.max_body_size
    assert limit is not None
    with httpx.Client(verify=False, timeout=PATIENCE) as client:  # The certificate is the test's own.
        assert client.post(address, content=bytes(limit)).text == str(limit)
        assert client.post(address, content=bytes(limit + 1)).status_code == 413
