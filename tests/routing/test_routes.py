"""From a URL to the method that answers it, and what no URL reaches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, WebSocket, WebSocketMiddleware, methods
from micropie.routing.routes import split_path
from tests.driver import handshake, http

if TYPE_CHECKING:
    from micropie import WebSocket as OnlyForTheTypeChecker


def logged(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        return handler(*arguments, **keywords)

    return wrapper


class Mixin:
    async def mixed(self) -> str:
        return "mixed"


class Base(App):
    async def inherited(self) -> str:
        return "inherited"

    async def removed(self) -> str:
        return "removed"

    async def replaced(self) -> str:
        return "base"


class Site(Mixin, Base):
    data = ("class", "data")
    function_as_data = print
    removed = None

    class Nested:
        pass

    def __init__(self) -> None:
        super().__init__()
        self.instance_attribute = self.index
        self.callable_attribute = lambda: "instance"

    async def index(self) -> str:
        return "index"

    async def greet(self, name: str = "nobody") -> str:
        return f"hello {name}"

    async def replaced(self) -> str:
        return "site"

    @property
    def computed(self) -> str:
        return "property"

    async def _private(self) -> str:
        return "private"

    async def __mangled(self) -> str:
        return "mangled"

    @logged
    async def decorated(self) -> str:
        return "decorated"

    @logged
    @methods("GET")
    async def decorated_get(self) -> str:
        return "decorated get"

    @methods("post", "PUT")
    async def change(self) -> str:
        return "changed"

    @methods("OPTIONS")
    async def asked(self) -> str:
        return "asked"

    @methods("GET")
    async def look(self) -> str:
        return "looked"

    def sync(self) -> str:
        return "sync"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("index")

    async def ws_chat(self, ws: WebSocket, room: str = "lobby") -> None:
        await ws.accept()
        await ws.send(room)


#: What a handler without @methods answers.
USUAL = "DELETE, GET, HEAD, PATCH, POST, PUT"


class Wiki(App):
    """An index that takes every path that names no other handler."""

    async def index(self, *path: str) -> Any:
        return list(path)

    async def edit(self, page: str) -> str:
        return f"edit {page}"


class Article(App):
    async def index(self, name: str, *, view: str = "page") -> Any:
        return [name, view]


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/", "index"),
        ("", "index"),
        ("/index", "index"),
        ("/index/", "index"),
        ("/greet", "hello nobody"),
        ("/greet/", "hello nobody"),
        ("/greet/Alice", "hello Alice"),
        ("/greet/Alice/", "hello Alice"),
        ("/greet/a b", "hello a b"),
        ("/greet/ä", "hello ä"),
        ("/greet//", "hello "),
        ("/mixed", "mixed"),
        ("/inherited", "inherited"),
        ("/replaced", "site"),
        ("/decorated", "decorated"),
        ("/decorated_get", "decorated get"),
        ("/sync", "sync"),
        # Neither a route nor below one.
        ("/nothing", 404),
        ("/Greet", 404),
        ("/greet/Alice/more", 404),
        ("/index/more", 404),
        ("//", 404),
        ("//greet", 404),
        ("greet", 404),
        # No function of a subclass.
        ("/data", 404),
        ("/function_as_data", 404),
        ("/removed", 404),
        ("/Nested", 404),
        ("/computed", 404),
        ("/instance_attribute", 404),
        ("/callable_attribute", 404),
        ("/_private", 404),
        ("/_Site__mangled", 404),
        ("/__mangled", 404),
        ("/ws_chat", 404),
        ("/ws_index", 404),
    ],
)
async def test_the_first_segment_names_the_method(target: str, answer: Any) -> None:
    got = await http(Site(), target)
    assert (got.status if got.status != 200 else got.text) == answer


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/", "index"),
        ("/chat", "lobby"),
        ("/chat/", "lobby"),
        ("/chat/kitchen", "kitchen"),
        ("/chat/kitchen/sink", 404),
        ("/ws_chat", 404),
        ("/greet", 404),
        ("/nothing", 404),
        ("/_chat", 404),
        ("//", 404),
    ],
)
async def test_a_websocket_goes_to_the_ws_method(target: str, answer: Any) -> None:
    client = await handshake(Site(), target)
    assert (client.refusal or client.messages[0]) == answer


@pytest.mark.parametrize(
    ("app", "target", "answer"),
    [
        (Wiki(), "/", []),
        (Wiki(), "/a/b", ["a", "b"]),
        (Wiki(), "/a/b/", ["a", "b"]),
        (Wiki(), "/index/a", ["a"]),
        (Wiki(), "/edit", 400),
        (Wiki(), "/edit/a/b", 404),
        (Article(), "/first", ["first", "page"]),
        (Article(), "/first?view=raw", ["first", "raw"]),
        (Article(), "/first/second", 404),
        (Article(), "/", 400),
    ],
)
async def test_an_index_with_parameters_gets_what_no_other_handler_takes(
    app: App, target: str, answer: Any
) -> None:
    got = await http(app, target)
    assert (got.status if got.status != 200 else got.json) == answer


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("POST", "/change", 200, None),
        ("PUT", "/change", 200, None),
        ("GET", "/change", 405, "POST, PUT"),
        ("HEAD", "/change", 405, "POST, PUT"),
        ("GET", "/look", 200, None),
        ("HEAD", "/look", 200, None),
        ("POST", "/look", 405, "GET, HEAD"),
        ("DELETE", "/decorated_get", 405, "GET, HEAD"),
        ("DELETE", "/greet", 200, None),
        # Without @methods, and what is meant for no page.
        *((method, "/greet", 200, None) for method in ("GET", "HEAD", "POST", "PUT", "PATCH")),
        *((method, "/sync/", 200, None) for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")),
        ("OPTIONS", "/greet", 204, USUAL),
        ("OPTIONS", "/greet/Alice", 204, USUAL),
        ("OPTIONS", "/sync", 204, USUAL),
        ("OPTIONS", "/change", 204, "POST, PUT"),
        ("OPTIONS", "/look", 204, "GET, HEAD"),
        ("OPTIONS", "/nothing", 404, None),
        ("OPTIONS", "/greet/Alice/more", 404, None),
        ("OPTIONS", "/asked", 200, None),
        ("GET", "/asked", 405, "OPTIONS"),
        *((method, "/greet", 405, USUAL) for method in ("TRACE", "CONNECT", "BREW", "get", "QUERY")),
        ("TRACE", "/sync", 405, USUAL),
        ("BREW", "/change", 405, "POST, PUT"),
        ("TRACE", "/nothing", 404, None),
    ],
)
async def test_methods_restrict_a_handler(method: str, target: str, status: int, allow: str | None) -> None:
    answer = await http(Site(), target, method)
    assert answer.status == status
    assert answer.headers.get("allow") == allow


class Preflight(HttpMiddleware):
    """Answers for all pages, as one for CORS does."""

    async def before_request(self, request: Any) -> Any:
        return {"status_code": 200, "body": "asked"} if request.method == "OPTIONS" else None

    async def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> None:
        extra_headers.append(("X-Seen", str(status_code)))


class After(Preflight):
    async def before_request(self, request: Any) -> Any: ...


async def test_hooks_see_options() -> None:
    """A before hook may answer OPTIONS itself, and after hooks see the answer that a route gives."""
    for hook, status, text in ((Preflight(), 200, "asked"), (After(), 204, "")):
        app = Site()
        app.middlewares.append(hook)
        answer = await http(app, "/greet", "OPTIONS")
        assert (answer.status, answer.text) == (status, text)
        assert answer.headers.get("x-seen") == (None if status == 200 else "204")
        assert (await http(app, "/greet", "TRACE")).status == 405


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "BREW"])
async def test_a_handler_never_runs_for_them(method: str) -> None:
    """Not with a body, a session, or a middleware either."""
    ran = []

    class Careful(App):
        async def index(self) -> str:
            ran.append(method)
            return ""

    app = Careful()
    for headers in ([], [("Cookie", "session_id=an-id-of-sixteen")], [("Content-Type", "application/json")]):
        await http(app, "/", method, headers=headers, body=b"{")
        app.middlewares.append(After())
    assert not ran


@pytest.mark.parametrize("names", [("POST",), ("GET", "OPTIONS")])
def test_a_websocket_has_no_method(names: tuple[str, ...]) -> None:
    async def ws_chat(self: App, ws: WebSocket) -> None: ...

    with pytest.raises(TypeError, match="ws_chat handles WebSockets, which have no method: take @methods"):
        type("Chat", (App,), {"ws_chat": methods(*names)(ws_chat)})()
    with pytest.raises(TypeError, match="ws_chat handles WebSockets"):
        type("Chat", (App,), {"ws_chat": logged(methods(*names)(ws_chat))})()


@pytest.mark.parametrize("names", [(), (len,), ("GET", None)])
def test_methods_need_names(names: Any) -> None:
    with pytest.raises(TypeError, match=r'@methods\("GET", "POST"\)'):
        methods(*names)


# --- paths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "raw_path", "root_path", "segments"),
    [
        ("/", b"/", "", []),
        ("", b"", "", []),
        ("/a", b"/a", "", ["a"]),
        ("/a/", b"/a/", "", ["a"]),
        ("/a//b", b"/a//b", "", ["a", "", "b"]),
        # An encoded slash stays in its segment.
        ("/a/b/c", b"/a/b%2Fc", "", ["a", "b/c"]),
        ("/a/b/c", b"/a/b%2fc", "", ["a", "b/c"]),
        ("/a/ä/c", b"/a/%C3%A4%2Fc", "", ["a", "ä/c"]),
        ("/a%2Fb", b"/a%252Fb", "", ["a%2Fb"]),
        # A raw path that says something else does not count.
        ("/a/b/c", b"/other%2Fpath", "", ["a", "b", "c"]),
        ("/a/b/c", b"/base/a/b%2Fc", "", ["a", "b", "c"]),
        ("/a/b/c", None, "", ["a", "b", "c"]),
        # The root path is stripped, on a boundary.
        ("/base", b"/base", "/base", []),
        ("/base/", b"/base/", "/base", []),
        ("/base/a", b"/base/a", "/base", ["a"]),
        ("/base/a", b"/base/a", "/base/", ["a"]),
        ("/deep/base/a", b"/deep/base/a", "/deep/base", ["a"]),
        ("/base/a/b", b"/base/a%2Fb", "/base", ["a/b"]),
        ("/based/a", b"/based/a", "/base", ["based", "a"]),
        ("/a", b"/a", "/base", ["a"]),
        ("/a", b"/a", "/", ["a"]),
    ],
)
def test_a_path_has_segments(path: str, raw_path: bytes | None, root_path: str, segments: list[str]) -> None:
    assert split_path({"path": path, "raw_path": raw_path}, root_path) == segments


@pytest.mark.parametrize("path", ["*", "a", "a/b", "http://testserver/a", "?a", "\\a", " /a"])
@pytest.mark.parametrize("root_path", ["", "/", "/base"])
def test_a_path_begins_with_a_slash(path: str, root_path: str) -> None:
    with pytest.raises(HTTPError, match="404"):
        split_path({"path": path, "raw_path": path.encode()}, root_path)


@pytest.mark.parametrize(
    ("path", "raw_path", "root_path"),
    [
        ("/base/a", b"/base%2Fa", "/base"),
        ("/deep/base/deep", b"/deep/base%2Fdeep", "/deep/base"),
        ("/deep/base/a", b"/deep%2Fbase/a", "/deep/base"),
        ("/deep/base", b"/deep%2Fbase", "/deep/base"),
    ],
)
def test_an_encoded_slash_in_the_root_path(path: str, raw_path: bytes, root_path: str) -> None:
    """It is a 404: hooks and mounts would see a path below the root path, and the routes another one."""
    with pytest.raises(HTTPError, match="404"):
        split_path({"path": path, "raw_path": raw_path}, root_path)


@pytest.mark.parametrize("left_out", [("raw_path",), ("root_path",), ("raw_path", "root_path")])
async def test_a_server_may_leave_out_raw_path_and_root_path(left_out: tuple[str, ...]) -> None:
    site = Site()

    async def sparing(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await site({name: value for name, value in scope.items() if name not in left_out}, receive, send)

    assert (await http(sparing, "/greet/a")).text == (await http(site, "/greet/a", root_path=None)).text


async def test_an_encoded_slash_reaches_the_handler() -> None:
    got = await http(Site(), "/greet/a/b", raw_path=b"/greet/a%2Fb")
    assert got.text == "hello a/b"


# --- handlers that a middleware chooses -----------------------------------------------------------------


class Chooser(HttpMiddleware):
    def __init__(self, name: str, parameters: list[str] | None = None) -> None:
        self.name, self.parameters = name, parameters

    async def before_request(self, request: Any) -> None:
        request._route_handler = self.name
        if self.parameters is not None:
            request.path_params = self.parameters

    async def after_request(self, *arguments: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("chooser", "answer"),
    [
        (Chooser("greet"), "hello b"),
        (Chooser("greet", ["Alice", "more", "than it takes"]), "hello Alice"),
        (Chooser("_private"), "private"),
        (Chooser("change"), 405),
        (Chooser("nothing"), 500),
        (Chooser("mount"), 500),
        (Chooser("_redirect"), 500),
        (Chooser("__init__"), 500),
        (Chooser("data"), 500),
    ],
)
async def test_a_middleware_chooses_the_handler(chooser: Chooser, answer: Any) -> None:
    app = Site()
    app.middlewares.append(chooser)
    got = await http(app, "/a/b/c")
    assert (got.status if got.status != 200 else got.text) == answer


async def test_a_chosen_private_handler_is_no_route_afterwards() -> None:
    app = Site()
    app.middlewares.append(Chooser("_private"))
    assert (await http(app, "/")).text == "private"
    app.middlewares.clear()
    assert (await http(app, "/_private")).status == 404


@pytest.mark.parametrize("name", ["typo", ""])
async def test_a_choice_that_does_not_exist_is_named_in_the_log(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Site()
    app.middlewares.append(Chooser(name))
    assert (await http(app, "/")).status == 500
    assert f"a middleware chose the handler {name!r}, which Site lacks" in caplog.text


# --- WebSocket methods that cannot work -----------------------------------------------------------------


class Broken(App):
    """The class loads: one mistake does not take the whole app down."""

    def ws_sync(self, ws: WebSocket) -> None:
        pass

    async def ws_nothing(self) -> None:
        pass

    async def ws_keyword(self, *, ws: WebSocket) -> None:
        pass

    async def ws_generator(self, ws: WebSocket) -> Any:
        yield "a message"

    def ws_sync_untyped(self, ws: OnlyForTheTypeChecker) -> None:
        pass

    async def ws_untyped(self, ws: OnlyForTheTypeChecker) -> None:
        await ws.accept()

    async def index(self) -> str:
        return "well"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/sync", "ws_sync must be 'async def' to handle a WebSocket"),
        ("/sync/lobby?name=a", "TypeError: ws_sync must be 'async def' to handle a WebSocket"),
        ("/sync_untyped", "ws_sync_untyped must be 'async def' to handle a WebSocket"),
        ("/generator", "ws_generator must be 'async def' to handle a WebSocket"),
        ("/nothing", "ws_nothing needs a parameter for the WebSocket: async def ws_nothing(self, ws)"),
        ("/keyword", "ws_keyword needs a parameter for the WebSocket"),
    ],
)
async def test_a_websocket_method_that_cannot_work_refuses_and_says_why(
    target: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Broken()
    assert (await handshake(app, target)).refusal == 500
    assert why in caplog.text
    assert (await http(app, "/")).text == "well"


async def test_the_annotation_of_the_websocket_is_never_read() -> None:
    assert (await handshake(Broken(), "/untyped")).accepted


class WebSocketChooser(WebSocketMiddleware):
    def __init__(self, name: str) -> None:
        self.name = name

    async def before_websocket(self, request: Any) -> None:
        request._ws_route_handler = self.name

    async def after_websocket(self, request: Any) -> None:
        pass


class Rooms(App):
    async def _room(self, ws: WebSocket, name: str = "lobby") -> None:
        await ws.accept()
        await ws.send(name)

    def _sync(self, ws: WebSocket) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "target", "answer"),
    [
        ("_room", "/x", "lobby"),
        ("_room", "/x/kitchen", "kitchen"),
        ("_room", "/x/kitchen/more", "kitchen"),
        ("_room", "/x?name=hall&ws=1", "hall"),
        ("_sync", "/x", 500),
        ("nothing", "/x", 500),
    ],
)
async def test_a_middleware_chooses_a_websocket_handler_by_any_name(
    name: str, target: str, answer: Any
) -> None:
    app = Rooms()
    app.ws_middlewares.append(WebSocketChooser(name))
    client = await handshake(app, target)
    assert (client.refusal or client.messages[0]) == answer


async def test_a_choice_can_be_made_again() -> None:
    app = Site()
    app.middlewares.append(Chooser("greet"))
    answers = [(await http(app, "/a/b")).text for _ in range(2)]
    assert answers == ["hello b", "hello b"]


async def test_a_websocket_middleware_has_only_the_hooks_that_it_needs() -> None:
    app = Site()
    app.ws_middlewares.append(WebSocketMiddleware())
    assert (await handshake(app, "/")).messages == ["index"]


@pytest.mark.parametrize("target", ["/_admin", "/", "//", "/ws__admin", "/ws_"])
async def test_private_names_of_sockets(target: str) -> None:
    """ws__admin is private as _admin is, and ws_ has no name by which it could be reached."""

    class Site(App):
        async def ws__admin(self, ws: WebSocket) -> None:
            await ws.accept()

        async def ws_(self, ws: WebSocket) -> None:
            await ws.accept()

    assert (await handshake(Site(), target)).refusal == 404
