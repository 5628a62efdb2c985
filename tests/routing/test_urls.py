"""Addresses: of a request, of handlers, below mounts and root paths, and whether hooks see the one that counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Any
from urllib.parse import unquote, urljoin
from uuid import UUID

import pytest

from micropie import App, FromSession, HttpMiddleware, WebSocket, WebSocketMiddleware
from tests.driver import handshake, http

# --- the request's own -----------------------------------------------------------------------------------


class Tells(App):
    async def index(self, *segments: str) -> Any:
        return {"url": self.request.url, "client": self.request.client, "path": self.request.path}

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(ws.url)


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        ({}, "https://testserver/"),
        ({"scheme": "http"}, "http://testserver/"),
        ({"headers": [("Host", "Example.com:8000")]}, "https://Example.com:8000/"),
        ({"headers": [("Host", "[::1]:8000")]}, "https://[::1]:8000/"),
        # Whatever a client makes of it, it stays one host.
        ({"headers": [("Host", "a@evil.example/x?")]}, "https://testserver:443/"),
        ({"headers": [("Host", "")]}, "https://testserver:443/"),
        ({"headers": [("Host", "")], "server": ("::1", 80)}, "https://[::1]:80/"),
        ({"headers": [("Host", "")], "server": ("/run/app.sock", None)}, "https://localhost/"),
        ({"headers": [("Host", "")], "server": None}, "https://localhost/"),
        # A proxy's word counts as far as the server believes it, and no further.
        (
            {"headers": [("X-Forwarded-Proto", "ftp"), ("X-Forwarded-Host", "evil.example")]},
            "https://testserver/",
        ),
        ({"path": "/ä b", "raw_path": b"/%C3%A4%20b"}, "https://testserver/%C3%A4%20b"),
        ({"path": "/a/b", "raw_path": b"/a%2Fb"}, "https://testserver/a%2Fb"),
        ({"path": "/ä b?#", "raw_path": None}, "https://testserver/%C3%A4%20b%3F%23"),
        ({"path": '/"<\r\n', "raw_path": b'/"<%0d%0a'}, "https://testserver/%22%3C%0d%0a"),
        ({"path": "/x", "raw_path": b"/other"}, "https://testserver/x"),
        ({"query_string": b"a=1&b=%20+"}, "https://testserver/?a=1&b=%20+"),
        ({"query_string": b'"\xff\n'}, "https://testserver/?%22%FF%0A"),
        ({"path": "/shop/a", "raw_path": b"/shop/a", "root_path": "/shop"}, "https://testserver/shop/a"),
        ({"path": "/a", "raw_path": b"/a", "root_path": "/shop"}, "https://testserver/shop/a"),
    ],
)
async def test_url(scope: dict[str, Any], url: str) -> None:
    """The absolute URL, encoded, with what the server says of the connection and what Host says."""
    assert (await http(Tells(), **scope)).json["url"] == url


async def test_url_of_a_websocket() -> None:
    """It has the scheme of one."""
    assert (await handshake(Tells(), "/?a=1")).messages == ["wss://testserver/?a=1"]


@pytest.mark.parametrize(
    ("client", "address"),
    [(("192.0.2.1", 50000), "192.0.2.1"), (["::1", "80"], "::1"), (None, None), (("", 0), None)],
)
async def test_client(client: Any, address: str | None) -> None:
    """The address, as servers give it; none over a Unix socket."""
    assert (await http(Tells(), client=client)).json["client"] == address


# --- one spelling for everybody ----------------------------------------------------------------------------


class Shop(App):
    """Keeps everybody out of /shop/admin, by the path, in hooks and at a mount."""

    def __init__(self, guard: Any) -> None:
        super().__init__()
        self.middlewares.append(guard)
        self.ws_middlewares.append(guard)
        self.mount("/files", Tells())

    async def admin(self) -> str:
        return "admin"

    async def index(self) -> str:
        return "index"

    async def ws_admin(self, ws: WebSocket) -> None:
        await ws.accept()


class Guard(HttpMiddleware, WebSocketMiddleware):
    def __init__(self, refuses: Callable[[Any], bool]) -> None:
        self.refuses = refuses
        self.seen: list[Any] = []

    async def before_request(self, request: Any) -> Any:
        self.seen.append(request.path)
        return {"status_code": 403} if self.refuses(request) else None

    async def before_websocket(self, request: Any) -> Any:
        return await self.before_request(request)


ROOTS = ["/shop", "/shop/", "shop", "//shop//"]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("path", ["/admin", "/shop/admin"])
async def test_no_guard_is_passed(root: str, path: str) -> None:
    """Whether a server leaves the root path out or not, hooks see it, so a guard that looks for it is never passed."""
    guard = Guard(lambda request: request.path == "/shop/admin")
    scope = {"path": path, "raw_path": path.encode(), "root_path": root}
    assert (await http(Shop(guard), **scope)).status == 403
    assert (await handshake(Shop(guard), **scope)).refusal == 403
    assert guard.seen == ["/shop/admin", "/shop/admin"]


@pytest.mark.parametrize("root", ["", *ROOTS])
@pytest.mark.parametrize("path", ["/files/a", "/shop/files/a"])
async def test_mounts_see_what_hooks_see(root: str, path: str) -> None:
    """A mounted app is found, and told, by the path that the hooks have seen."""
    guard = Guard(lambda request: False)
    answer = await http(Shop(guard), path=path, raw_path=path.encode(), root_path=root)
    if not root:
        assert answer.status == (200 if path == "/files/a" else 404)
        return
    assert guard.seen == ["/shop/files/a"]
    assert answer.json["path"] == "/shop/files/a"


SPELLINGS = [
    "/admin",
    "/admin/",
    "/admin//",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/admin/.",
    "/%61dmin",
    "/%2e%2e/admin",
    "/admin%2F",
    "/%2Fadmin",
    "/ADMIN",
    "/Admin",
    "/admin;x",
    "/admin%00",
    "/admin ",
    "\\admin",
    "/index/admin",
    "/index/../admin",
    "admin",
    "http://testserver/admin",
]


@pytest.mark.parametrize("root", ["", "/shop"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_one_route_for_all_spellings(root: str, spelling: str) -> None:
    """A guard that asks for the route is passed by no spelling of a path."""
    for path in (spelling, f"{root}{spelling}"):
        guard = Guard(lambda request: request.route in ("admin", "ws_admin"))
        scope = {"path": unquote(path), "raw_path": path.encode(), "root_path": root}
        answer = await http(Shop(guard), **scope)
        assert answer.status in (403, 404)
        assert (await handshake(Shop(guard), **scope)).refusal in (403, 404)
        unguarded = await http(Shop(Guard(lambda request: False)), **scope)
        assert answer.status == 403 or unguarded.text != "admin"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "index"),
        ("/index", "index"),
        ("/admin/", "admin"),
        ("/files", "/files"),
        ("/files/a/b", "/files"),
        ("/nothing", None),
        ("/_admin", None),
        ("/ws_admin", None),
    ],
)
async def test_route(path: str, route: str | None) -> None:
    """The name of the method that answers, or the prefix of the mount; none for a 404."""
    seen: list[Any] = []
    await http(Shop(Guard(lambda request: bool(seen.append(request.route)))), path)
    assert seen == [route]


async def test_an_apps_own_attributes_of_a_request_may_have_these_names() -> None:
    """A hook that keeps something of its own there has it, as it had before these names existed."""

    class Keeps(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.url, request.client, request.route = "u", "c", "r"

    class Site(App):
        async def index(self) -> Any:
            return [self.request.url, self.request.client, self.request.route]

    app = Site()
    app.middlewares.append(Keeps())
    assert (await http(app)).json == ["u", "c", "r"]


async def test_route_that_a_hook_has_chosen() -> None:
    """It counts from then on, and who has looked before changes nothing."""

    def choose(request: Any) -> bool:
        seen.append(request.route)
        request._route_handler = "admin"
        seen.append(request.route)
        return False

    seen: list[Any] = []
    assert (await http(Shop(Guard(choose)), "/nothing/at/all")).text == "admin"
    assert seen == [None, "admin"]


# --- url_for -----------------------------------------------------------------------------------------------


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Pies(App):
    """Answers ``/url`` with what its function makes."""

    def __init__(self, make: Callable[[Any], Any] = lambda app: None) -> None:
        super().__init__()
        self.make = make

    async def index(self, name: str = "", *more: str) -> Any:
        return [name, *more]

    async def url(self) -> Any:
        try:
            return self.make(self)
        except (LookupError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    async def pie(self, name: str, size: int = 1, *, sort: str = "", tags: list[int] = []) -> Any:  # noqa: B006  # nobody changes it
        return [name, size, sort, tags]

    async def of(self, day: date, big: bool = False, kind: Size = Size.SMALL, uid: UUID | None = None) -> Any:
        return [str(day), big, kind.name, str(uid)]

    async def all(self, *parts: int, **rest: str) -> Any:
        return [parts, rest]

    async def me(self, user: FromSession[str]) -> str:
        return user

    async def _private(self) -> None: ...

    async def ws_chat(self, ws: WebSocket, room: str) -> None:
        await ws.accept()


UID = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("make", "url"),
    [
        (lambda app: app.url_for("index"), "/"),
        (lambda app: app.url_for("pie"), "/pie"),
        (lambda app: app.url_for(app.pie, "apple"), "/pie/apple"),
        (lambda app: app.url_for("pie", "apple", 3), "/pie/apple/3"),
        (lambda app: app.url_for("pie", name="apple", size=3), "/pie/apple/3"),
        (lambda app: app.url_for("pie", "apple", size=3), "/pie/apple/3"),
        (lambda app: app.url_for("pie", size=3), "/pie?size=3"),
        (lambda app: app.url_for("pie", name=None, size=3), "/pie?size=3"),
        (lambda app: app.url_for("pie", "a", sort="x y", tags=[1, 2]), "/pie/a?sort=x%20y&tags=1&tags=2"),
        (lambda app: app.url_for("pie", "a", sort=""), "/pie/a?sort="),
        (lambda app: app.url_for("pie", name=""), "/pie?name="),
        (lambda app: app.url_for("pie", name="."), "/pie?name=."),
        (lambda app: app.url_for("pie", name="..", size=2), "/pie?name=..&size=2"),
        (lambda app: app.url_for("pie", name="ä/b c?#%&"), "/pie/%C3%A4%2Fb%20c%3F%23%25%26"),
        (lambda app: app.url_for("pie", name="\r\nX: y"), "/pie/%0D%0AX%3A%20y"),
        (
            lambda app: app.url_for("of", date(2026, 1, 31), True, Size.LARGE, UID),
            f"/of/2026-01-31/true/l/{UID}",
        ),
        (lambda app: app.url_for("all", 1, 2, x="y", day=date(2026, 1, 31)), "/all/1/2?x=y&day=2026-01-31"),
        (lambda app: app.url_for("ws_chat", room="a b"), "/chat/a%20b"),
        (lambda app: app.url_for("index", "a", "b"), "/a/b"),
        (lambda app: app.url_for("index", "pie"), "/index/pie"),  # /pie is another one's
        (lambda app: app.url_for("index", name="_x"), "/index/_x"),
        (lambda app: app.url_for("nothing"), "LookupError: Pies has no route 'nothing'"),
        (lambda app: app.url_for("_private"), "LookupError: Pies has no route '_private'"),
        (lambda app: app.url_for("mount"), "LookupError: Pies has no route 'mount'"),
        (lambda app: app.url_for("pie", "a", 2, 3), "TypeError: pie takes 2 path segments, not 3"),
        (lambda app: app.url_for("pie", "a", name="b"), "TypeError: pie got two values for 'name'"),
        (lambda app: app.url_for("pie", other=1), "TypeError: pie has no parameter 'other'"),
        (
            lambda app: app.url_for("pie", "a", "x"),
            "ValueError: the parameter 'size' of pie must be an integer",
        ),
        (
            lambda app: app.url_for("pie", size="x"),
            "ValueError: the parameter 'size' of pie must be an integer",
        ),
        (lambda app: app.url_for("pie", tags=["x"]), "ValueError: the parameter 'tags' of pie must be"),
        (lambda app: app.url_for("pie", ".."), "ValueError: '..' cannot be a path segment; give it by name"),
        (lambda app: app.url_for("pie", ""), "ValueError: '' cannot be a path segment; give it by name"),
        (lambda app: app.url_for("pie", name=b"a"), "TypeError: a URL holds text, not b'a'"),
        (
            lambda app: app.url_for("me", user="alice"),
            "TypeError: the parameter 'user' of me comes from the session",
        ),
        (
            lambda app: Pies().url_for("pie"),
            "LookupError: Pies is neither the app of this request, nor around it",
        ),
    ],
)
@pytest.mark.parametrize("root", ["", "/shop", "/a b"])
async def test_url_for(make: Any, url: str, root: str) -> None:
    """The path to a handler, with the root path; what the handler would refuse is refused at once."""
    text = (await http(Pies(make), path=f"{root}/url", raw_path=None, root_path=root)).text
    if url[0] == "/":
        assert text == root.replace(" ", "%20") + url
    else:
        assert text.startswith(url)


@pytest.mark.parametrize(
    ("name", "segments", "values", "answer"),
    [
        ("pie", ["ä/b c?#%&"], {"size": 3, "sort": "&=", "tags": [1, 2]}, ["ä/b c?#%&", 3, "&=", [1, 2]]),
        ("pie", [], {"name": "..", "size": 2}, ["..", 2, "", []]),
        (
            "of",
            [date(2026, 1, 31), True],
            {"kind": Size.LARGE, "uid": UID},
            ["2026-01-31", True, "LARGE", str(UID)],
        ),
        ("index", ["pie", "a/b"], {}, ["pie", "a/b"]),
        ("index", ["index"], {}, ["index"]),
        ("all", [1, 2], {"x": "+ +"}, [[1, 2], {"x": "+ +"}]),
    ],
)
async def test_an_address_leads_back(
    name: str, segments: list[Any], values: dict[str, Any], answer: Any
) -> None:
    """What url_for() makes calls the handler with the very values, below a mount and a root path too."""
    outer, app = App(), Pies(lambda app: app.url_for(name, *segments, **values))
    outer.mount("/pies", app)
    url = (await http(outer, "/shop/pies/url", root_path="/shop")).text
    path, _, query = url.partition("?")
    scope = {"path": unquote(path), "raw_path": path.encode(), "query_string": query.encode()}
    assert url.startswith("/shop/pies/")
    assert (await http(outer, root_path="/shop", **scope)).json == answer


@pytest.mark.parametrize(
    ("make", "url"),
    [
        (lambda outer, inner, other: inner.url_for("pie"), "/base/inner/pie"),
        (lambda outer, inner, other: outer.url_for("pie"), "/base/pie"),
        (lambda outer, inner, other: other.url_for("pie"), "/base/other/pie"),
        (lambda outer, inner, other: inner.url_for(outer.pie, "a"), "/base/pie/a"),
        (lambda outer, inner, other: outer.url_for(other.pie, "a"), "/base/other/pie/a"),
        (lambda outer, inner, other: inner._redirect(inner.url_for("pie"))[2][0][1], "/base/inner/pie"),
        (
            lambda outer, inner, other: urljoin(inner.request.url, inner.url_for("pie", "ä")),
            "https://testserver/base/inner/pie/%C3%A4",
        ),
    ],
)
@pytest.mark.parametrize("from_outer", [True, False])
async def test_url_for_knows_the_mounts(make: Any, url: str, from_outer: bool) -> None:
    """From a mounted app to the one around it and back, and to the app beside it."""

    def made(app: Any) -> Any:
        return make(outer, inner, other)

    outer, inner, other = Pies(made), Pies(made), Pies()
    outer.mount("/inner", inner)
    outer.mount("/other", other)
    target = "/base/url" if from_outer else "/base/inner/url"
    assert (await http(outer, target, root_path="/base")).text == url


def test_url_for_needs_a_request() -> None:
    """Only a request tells the root path."""
    with pytest.raises(LookupError, match=r"url_for\(\) needs a request"):
        Pies().url_for("pie")
