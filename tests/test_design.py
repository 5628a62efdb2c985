"""Section 2 of the design, statement by statement: a test here, or the name of the one that stands elsewhere."""

from __future__ import annotations

import ast
import asyncio
import configparser
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import micropie
from micropie import (
    SESSION_TIMEOUT,
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    MultipartFileError,
    Request,
    SessionBackend,
    WebSocket,
    WebSocketMiddleware,
    concurrency,
    current_request,
    methods,
)
from micropie.settings import CHECKS
from tests.driver import Client, handshake, http, websocket
from tests.helpers import COOKIE, FORM, ID

TESTS = Path(__file__).parent
MIB = 1024 * 1024
JSON = ("Content-Type", "application/json")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=frontier")
END = b"--frontier--\r\n"


def field(name: str, value: str) -> bytes:
    return f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(name: str, content: bytes, filename: str = "f") -> bytes:
    head = f'--frontier\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


async def contents(upload: Any) -> str:
    pieces = []
    while (piece := await upload["content"].get()) is not None:
        pieces.append(piece)
    return b"".join(pieces).decode()


# --- statements whose test stands elsewhere -------------------------------------------------------------

ELSEWHERE: dict[str, dict[str, str]] = {
    "public API": {
        "every name can be imported": "test_app::test_the_public_names_are_there",
        "without any extra": "test_package::test_every_public_name_is_there_without_any_extra",
        "no dependencies": "test_package::test_installing_brings_no_other_package",
        "py.typed is in the wheel": (
            "test_package::test_the_wheel_holds_the_package_its_types_and_nothing_else"
        ),
        "__version__": "test_package::test_the_version_is_stated_in_one_place",
        "apps for 0.29 to 0.32 run unmodified": "compat/test_compat::test_requests",
        "their WebSockets too": "compat/test_compat::test_websockets",
        "their limits by keyword": "compat/test_compat::test_limits_by_keyword",
        "their hooks": "compat/test_compat::test_an_after_hook_can_append_to_the_headers",
        "their backends": "compat/test_compat::test_a_session_with_a_backend_of_ones_own",
    },
    "App": {
        "settings are validated": "test_settings::test_a_wrong_setting_is_told_at_once",
        "an unknown setting is an error": (
            "test_settings::test_a_setting_that_does_not_exist_is_told_with_those_that_do"
        ),
        "a subclass states a default": "test_settings::test_a_setting_is_an_argument_or_a_class_attribute",
        "an argument comes before it": "test_settings::test_an_argument_comes_before_the_class",
        "a backend is an argument": "test_app::test_an_empty_backend_is_a_backend",
        "startup and shutdown handlers": "connection/test_lifespan::test_handlers_run_in_order",
        "websockets: a view of the open sockets": (
            "connection/test_websocket::test_the_open_sockets_of_an_app"
        ),
        "self.request is the current request": "test_app::test_the_request_of_each_handler_is_its_own",
        "templates: autoescape": "response/test_templates::test_values_are_escaped",
        "templates: async": "response/test_templates::test_a_template_can_await",
        "templates: beside the module, then in the working directory": (
            "response/test_templates::test_templates_stand_beside_the_apps_module_or_in_the_working_directory"
        ),
        "_redirect: a safely encoded Location": "test_app::test_a_location_is_encoded_safely_and_once",
        "_redirect: status and extra headers": "test_app::test_a_redirect_has_a_status_and_more_headers",
        "mount: HTTP of any ASGI app": "routing/test_mounts::test_a_child_gets_everything_else_unchanged",
        "mount: WebSocket": "routing/test_mounts::test_a_child_gets_the_whole_connection",
        "mount: lifespan": (
            "connection/test_lifespan::test_children_start_after_their_parent_and_stop_before_it"
        ),
        "mount: lifespan of any ASGI app": "connection/test_lifespan::test_any_asgi_app_can_be_a_child",
        "mount: hooks first": "routing/test_mounts::test_before_hooks_come_first",
        "mount: WebSocket hooks first": (
            "routing/test_mounts::test_a_before_hook_can_refuse_what_a_child_would_accept"
        ),
        "mount: the origin check first": (
            "routing/test_mounts::test_the_origin_is_checked_before_a_child_is_asked"
        ),
        "mount: full path and root_path": (
            "routing/test_mounts::test_a_child_gets_the_full_path_and_its_prefix_in_root_path"
        ),
        "_error_page overrides error pages": "connection/test_http::test_an_app_can_have_its_own_error_pages",
        "_error_page is for every error": "connection/test_http::test_error_pages_are_for_every_error",
        "debug shows tracebacks": (
            "connection/test_http::test_an_error_is_logged_and_shown_only_when_debugging"
        ),
    },
    "Routes": {
        "the first segment names the method": "routing/test_routes::test_the_first_segment_names_the_method",
        "more segments than it takes: 404": "routing/test_routes::test_the_first_segment_names_the_method",
        "index gets all segments": (
            "routing/test_routes::test_an_index_with_parameters_gets_what_no_other_handler_takes"
        ),
        "more segments: 404 for WebSockets too": (
            "routing/test_routes::test_a_websocket_goes_to_the_ws_method"
        ),
        "chosen handlers are exempt": "routing/test_routes::test_a_middleware_chooses_the_handler",
        "a trailing slash adds no segment": "routing/test_routes::test_a_path_has_segments",
        "%2F does not split": "routing/test_routes::test_an_encoded_slash_reaches_the_handler",
        "raw_path counts only if it equals path": "routing/test_routes::test_a_path_has_segments",
        "root_path is stripped on a boundary": "routing/test_routes::test_a_path_has_segments",
        "/chat is ws_chat, / is ws_index": "routing/test_routes::test_a_websocket_goes_to_the_ws_method",
        "decorated functions are routes": "routing/test_arguments::test_a_decorator_keeps_the_parameters",
        "what App and object define is no route": "test_app::test_nothing_internal_is_reachable_by_url",
        "nor what overrides it": "test_app::test_what_an_app_overrides_is_still_no_route",
        "data, properties, classes are no routes": (
            "routing/test_routes::test_the_first_segment_names_the_method"
        ),
        "_x is private, ws_x no HTTP route": "routing/test_routes::test_the_first_segment_names_the_method",
        "a ws_ method that cannot work: 500, logged": (
            "routing/test_routes::test_a_websocket_method_that_cannot_work_refuses_and_says_why"
        ),
        "@methods: 405 with Allow": "routing/test_routes::test_methods_restrict_a_handler",
        "HEAD runs GET's handler": "connection/test_http::test_head_has_the_headers_of_get_and_no_body",
        "a middleware chooses, private ones too": (
            "routing/test_routes::test_a_middleware_chooses_the_handler"
        ),
        "_ws_route_handler": "routing/test_routes::test_a_middleware_chooses_a_websocket_handler_by_any_name",
        "_subapp, _subapp_path, _subapp_mount_path": "routing/test_mounts::test_a_middleware_chooses_an_app",
        "_subapp for WebSockets": "routing/test_mounts::test_a_middleware_chooses_an_app_for_a_websocket",
    },
    "Arguments": {
        "missing: 400 naming the parameter": "routing/test_arguments::test_a_missing_value_is_named",
        "missing: a handshake is refused with 400": (
            "connection/test_websocket::test_a_refused_handshake_is_an_http_answer"
        ),
        "*args take the remaining segments": "routing/test_arguments::test_every_kind_of_parameter",
        "**kwargs take query, then body names": (
            "routing/test_arguments::test_extra_names_come_from_the_query_before_the_body"
        ),
        "FromSession comes only from the session, else 401": (
            "routing/test_arguments::test_what_comes_from_the_session_comes_from_nowhere_else"
        ),
        "annotations convert": (
            "routing/test_arguments::test_an_annotation_converts_a_segment_and_a_query_value"
        ),
        "list[T] of a repeated query key": (
            "routing/test_arguments::test_a_list_takes_every_value_of_a_repeated_name"
        ),
        "list[T] of a repeated form key": "request/test_body::test_a_body_is_read_by_its_media_type_alone",
        "list[T] of a repeated multipart field": "request/test_uploads::test_what_a_handler_gets",
        "a bad segment: 404; a bad value: 400, parameter and type": (
            "routing/test_arguments::test_a_value_that_does_not_convert"
        ),
        "JSON keeps its types": "routing/test_arguments::test_json_keeps_its_types",
        "a blank ?x= is empty text": "routing/test_arguments::test_a_blank_query_value_is_empty_text",
    },
    "What a handler returns": {
        "str, bytes, dict, list, tuples": "connection/test_http::test_what_a_handler_returns_is_what_is_sent",
        "generators are streamed": "connection/test_http::test_a_stream_is_sent_in_pieces_without_a_length",
        "a client that goes cancels the stream": "connection/test_http::test_a_stream_stops_with_its_client",
        "and its finally runs in a sync one too": (
            "connection/test_http::test_a_sync_stream_runs_to_its_next_chunk_and_is_closed"
        ),
        "None: 204, a warning once": "connection/test_http::test_returning_none_is_204_and_warned_of_once",
        "HTTPError is the answer": "connection/test_http::test_an_http_error_is_the_answer",
        "a hook never changes the handler's list": (
            "connection/test_http::test_a_hook_never_changes_the_handlers_own_list"
        ),
        "sync handlers run in threads": (
            "connection/test_http::test_a_sync_handler_runs_in_a_thread_with_its_request"
        ),
        "sync_workers at once": ("test_concurrency::test_no_more_calls_run_at_once_than_there_are_workers"),
        "they may raise anything": "test_concurrency::test_a_call_may_raise_anything",
    },
    "Request": {
        "path, path_params, query_params, headers, scope, cookies": (
            "request/test_request::test_what_a_request_knows"
        ),
        "method": "request/test_request::test_the_method_is_empty_for_a_websocket",
        "query, form, json, get_json, body_params": "request/test_body::test_the_helpers",
        "body": "request/test_body::test_the_raw_body_of_any_type",
        "set_cookie, delete_cookie": "request/test_body::test_cookies_are_set_with_the_answer",
        "regenerate_session": "sessions/test_sessions::test_a_login_moves_the_session_to_a_fresh_id",
        "save_session": "sessions/test_sessions::test_a_session_can_be_saved_before_a_long_wait",
        "what nobody looks at is not computed": (
            "request/test_request::test_what_nobody_looks_at_is_not_computed"
        ),
        "bad JSON: 400": "request/test_body::test_a_body_is_read_by_its_media_type_alone",
        "the media type alone says what a body is": (
            "request/test_body::test_a_body_is_read_by_its_media_type_alone"
        ),
        "a file has filename, content_type, content": (
            "request/test_uploads::test_the_order_of_the_parts_never_matters"
        ),
        "backpressure to the socket": "request/test_uploads::test_a_slow_handler_slows_the_client_down",
        "part order never matters": "request/test_uploads::test_two_files_in_any_order",
        "a body cut short reaches no handler": (
            "request/test_body::test_a_body_that_the_client_cuts_short_never_reaches_a_handler"
        ),
        "nor does a multipart one": (
            "request/test_uploads::test_a_form_that_is_cut_before_its_file_never_reaches_the_handler"
        ),
        "MultipartFileError in a file that is read": (
            "request/test_uploads::test_a_file_that_the_client_cuts_short"
        ),
    },
    "WebSocket": {
        "accept: subprotocol and headers": "websocket/test_websocket::test_what_accept_sends",
        "accept: session_id": "sessions/test_sessions::test_an_app_can_choose_the_session_of_a_socket",
        "accept: max_message_size": "websocket/test_websocket::test_a_socket_can_have_a_limit_of_its_own",
        "receive in kind, receive_text, _bytes, _json": "websocket/test_websocket::test_messages_in",
        "send in kind, send_text, _bytes, _json": "websocket/test_websocket::test_messages_out",
        "close is idempotent": "websocket/test_websocket::test_closing_twice_sends_one_frame",
        "close before accept refuses": (
            "websocket/test_websocket::test_a_handshake_can_be_refused_with_any_answer"
        ),
        "for good": "websocket/test_websocket::test_a_refused_handshake_cannot_be_accepted_afterwards",
        "reject answers with HTTP": (
            "websocket/test_websocket::test_a_handshake_can_be_refused_with_any_answer"
        ),
        "async for ends when the client leaves": (
            "websocket/test_websocket::test_a_loop_over_the_messages_ends_when_the_client_leaves"
        ),
        "until_closed is left at once": (
            "websocket/test_websocket::test_until_closed_is_left_the_moment_the_client_goes"
        ),
        "a cancellation from outside passes through": (
            "websocket/test_websocket::test_a_cancellation_from_outside_passes_through_the_block"
        ),
        "run receives and sends": (
            "websocket/test_websocket::test_run_receives_and_sends_at_once_until_the_client_leaves"
        ),
        "one job's end cancels the others": (
            "websocket/test_websocket::test_a_job_that_ends_cancels_the_others"
        ),
        "so does the client's leaving": "websocket/test_run::test_all_jobs_end_when_the_client_goes",
        "ConnectionClosed from receive and send": (
            "websocket/test_websocket::test_after_the_end_everything_says_so_and_nothing_hangs"
        ),
        "UTF-8, strictly": "connection/test_websocket::test_messages",
        "misuse before accept": (
            "websocket/test_websocket::test_misuse_before_accept_is_told_at_once_and_changes_nothing"
        ),
        "misuse after accept": (
            "websocket/test_websocket::test_misuse_after_accept_is_told_at_once_and_changes_nothing"
        ),
        "two tasks receiving": "websocket/test_wire::test_only_one_task_can_receive",
    },
    "Middleware": {
        "hooks are optional": "connection/test_http::test_a_middleware_has_only_the_hooks_that_it_needs",
        "on_headers comes before the body": (
            "request/test_body::test_hooks_see_the_headers_before_the_body_and_the_form_before_the_handler"
        ),
        "a dict of before_request answers; anything else: 500": (
            "connection/test_http::test_a_before_hook_can_answer"
        ),
        "after_request sees the body": (
            "connection/test_http::test_an_after_hook_sees_the_body_and_the_handlers_own_headers"
        ),
        "its dict replaces the answer": "connection/test_http::test_an_after_hook_can_change_the_answer",
        "a dict of before_websocket refuses; anything else too": (
            "connection/test_websocket::test_a_before_hook_can_refuse"
        ),
        "after hooks: reverse, once, every way out": (
            "connection/test_http::test_after_hooks_run_once_and_in_reverse_on_every_way_out"
        ),
        "the same for WebSockets": (
            "connection/test_websocket::test_after_hooks_run_once_and_in_reverse_on_every_way_out"
        ),
        "on cancellation": "connection/test_http::test_after_hooks_run_when_the_server_cancels",
        "on cancellation of a WebSocket": (
            "connection/test_websocket::test_after_hooks_run_when_the_server_cancels"
        ),
    },
    "Sessions": {
        "only load and save are needed": (
            "sessions/test_sessions::test_overlapping_requests_merge_their_changes"
        ),
        "updates merge": "sessions/test_sessions::test_two_that_write_at_the_same_moment_both_count",
        "timeout": "sessions/test_sessions::test_a_session_expires_when_it_is_not_used",
    },
}


@cache
def functions_of(module: str) -> frozenset[str]:
    tree = ast.parse((TESTS / f"{module}.py").read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


@pytest.mark.parametrize(
    "test", sorted({test for statements in ELSEWHERE.values() for test in statements.values()})
)
def test_the_tests_that_stand_elsewhere_exist(test: str) -> None:
    module, _, name = test.partition("::")
    assert name.startswith("test_")
    assert name in functions_of(module)


# --- the public API -------------------------------------------------------------------------------------

NAMES = """App, Request, WebSocketRequest, WebSocket, ConnectionClosed, HTTPError, MultipartFileError,
HttpMiddleware, WebSocketMiddleware, SessionBackend, Upload, InMemorySessionBackend, FromSession, methods,
content_disposition, current_request, SESSION_TIMEOUT"""


def test_the_public_names_are_these() -> None:
    assert sorted(micropie.__all__) == sorted(NAMES.replace("\n", " ").replace(",", " ").split())
    assert isinstance(micropie.__version__, str)


def test_mypy_is_strict_about_the_package() -> None:
    tox = configparser.ConfigParser()
    tox.read(TESTS.parent / "tox.ini")
    lines = tox["testenv:typing"]["commands"].splitlines()
    assert any("mypy --strict" in line and "micropie" in line.split() for line in lines)


SIGNATURES: list[tuple[Callable[..., Any], str]] = [
    (App._render_template, "name, /, **context"),
    (App._redirect, "location, extra_headers=None, status=302"),
    (App._error_page, "status, detail"),
    (App.mount, "prefix, app, *, session=True"),
    (methods, "*names"),
    (HTTPError, "status, detail='', headers=()"),
    (ConnectionClosed, "code=1005, reason=''"),
    (Request.query, "name, default=None"),
    (Request.form, "name, default=None"),
    (Request.json, "name=None, default=None"),
    (Request.body, ""),
    (Request.regenerate_session, ""),
    (Request.save_session, ""),
    (WebSocket.accept, "subprotocol=None, session_id=None, headers=(), max_message_size=None"),
    (WebSocket.receive, ""),
    (WebSocket.receive_text, ""),
    (WebSocket.receive_bytes, ""),
    (WebSocket.receive_json, ""),
    (WebSocket.send, "data"),
    (WebSocket.send_text, "data"),
    (WebSocket.send_bytes, "data"),
    (WebSocket.send_json, "value"),
    (WebSocket.close, "code=1000, reason=None"),
    (WebSocket.reject, "status=403, body='', headers=()"),
    (WebSocket.until_closed, ""),
    (WebSocket.run, "*jobs"),
    (HttpMiddleware.on_headers, "request"),
    (HttpMiddleware.before_request, "request"),
    (HttpMiddleware.after_request, "request, status_code, response_body, extra_headers"),
    (WebSocketMiddleware.before_websocket, "request"),
    (WebSocketMiddleware.after_websocket, "request"),
    (SessionBackend.load, "session_id"),
    (SessionBackend.save, "session_id, data, timeout"),
    (SessionBackend.update, "session_id, changed, removed, timeout"),
]


@pytest.mark.parametrize(("function", "parameters"), SIGNATURES)
def test_a_signature_is_that_of_the_design(function: Callable[..., Any], parameters: str) -> None:
    signature = inspect.signature(function)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    assert str(inspect.Signature(plain)) == f"({parameters})"


# --- App ------------------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "body_timeout": 5,
    "max_body_size": 16 * MIB,
    "max_json_size": MIB,
    "max_form_field_size": MIB,
    "max_form_parts": 1000,
    "max_message_size": MIB,
    "send_timeout": 30,
    "close_timeout": 3,
    "session_timeout": SESSION_TIMEOUT,
    "session_store_timeout": 5.0,
    "session_cookie": "session_id",
    "session_cookie_secure": None,
    "session_id_factory": App.session_id_factory,
    "session_id_validator": App.session_id_validator,
    "allowed_origins": (),
    "allowed_hosts": (),
    "sync_workers": 40,
    "debug": False,
}


def test_the_settings_are_these() -> None:
    assert SETTINGS.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_its_default(name: str) -> None:
    assert getattr(App(), name) == SETTINGS[name]


def test_settings_are_keyword_arguments() -> None:
    with pytest.raises(TypeError):
        App(*[None, 5.0])


LIMITS = ["body_timeout", "max_body_size", "max_json_size", "max_form_field_size", "max_form_parts"]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_a_number_above_zero_or_none(name: str) -> None:
    good: list[Any] = [1, None]
    bad: list[Any] = [0, -1, "1", True, float("nan")]
    assert [getattr(App(**{name: value}), name) for value in good] == good
    for value in bad:
        with pytest.raises((TypeError, ValueError), match=name):
            App(**{name: value})


async def test_no_configuration_is_global() -> None:
    class Small(App):
        max_body_size = 3

        async def index(self) -> bytes:
            return await self.request.body()

    class Smaller(Small):
        max_body_size = 2

    async def status(app: App) -> int:
        return (await http(app, "/", "POST", body=b"abc")).status

    assert [await status(app) for app in (Small(), Smaller(), Small(max_body_size=1))] == [200, 413, 413]
    assert App.max_body_size == 16 * MIB


def test_an_app_has_these_lists() -> None:
    app = App()
    for name in ("middlewares", "ws_middlewares", "startup_handlers", "shutdown_handlers"):
        assert getattr(app, name) == []
        assert getattr(app, name) is not getattr(App(), name)


async def test_env_is_a_jinja2_environment_of_the_apps_own() -> None:
    from jinja2 import Environment

    app = App()
    assert isinstance(app.env, Environment)
    assert app.env is app.env is not App().env
    assert app.env.is_async


async def test_the_view_of_the_open_sockets_cannot_be_changed_and_is_safe_to_loop_over() -> None:
    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            assert ws not in self.websockets
            await ws.accept()
            assert ws in self.websockets
            for one in self.websockets:
                await one.close()
            assert not self.websockets

    assert not hasattr(App().websockets, "add")
    assert (await handshake(Site())).close == (1000, "")


@pytest.mark.parametrize("extra", [None, [("X-A", "b")], {"X-A": "b"}])
def test_a_redirect_is_status_empty_body_and_headers(extra: Any) -> None:
    more = [("X-A", "b")] if extra else []
    assert App()._redirect("/a b", extra) == (302, "", [("Location", "/a%20b"), *more])


async def test_an_error_page_is_also_that_of_a_refused_handshake() -> None:
    class Pages(App):
        async def _error_page(self, status: int, detail: str) -> Any:
            return f"page for {status} {self.request.path}"

    client = await handshake(Pages(), "/nothing")
    assert (client.refusal, client.refusal_body) == (404, b"page for 404 /nothing")


# --- routes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ("self, name", 200),
        ("self, name=''", 200),
        ("self, *names", 200),
        ("self", 404),
        ("self, *, name=''", 404),
        ("self, **names", 404),
        ("self, names: list[str] = ()", 404),
        ("self, user: FromSession[str] = ''", 404),
        ("self, user: FromSession[str] = '', name=''", 200),
    ],
)
async def test_index_gets_an_unknown_first_segment_only_as_a_positional_parameter(
    parameters: str, status: int
) -> None:
    names: dict[str, Any] = {"FromSession": FromSession, "__name__": __name__}
    exec(f"async def index({parameters}): return 'index'", names)
    app: App = type("Site", (App,), {"index": names["index"]})()
    assert (await http(app, "/unknown")).status == status


async def test_ws_index_never_gets_an_unknown_first_segment() -> None:
    class Site(App):
        async def ws_index(self, ws: WebSocket, *names: str) -> None:
            await ws.accept()
            await ws.send_json(names)

    assert (await handshake(Site(), "/unknown")).refusal == 404
    assert (await handshake(Site(), "/index/a/b")).messages == ['["a","b"]']


class Mixin:
    async def mixed(self) -> str:
        return "mixed"

    async def ws_mixed(self, ws: WebSocket) -> None:
        await ws.accept()


class Before(Mixin, App):
    pass


class After(App, Mixin):
    pass


@pytest.mark.parametrize("app", [Before(), After()])
async def test_the_functions_of_a_mixin_are_routes(app: App) -> None:
    assert (await http(app, "/mixed")).text == "mixed"
    assert (await handshake(app, "/mixed")).accepted


async def test_a_websocket_handler_takes_the_remaining_segments() -> None:
    class Site(App):
        async def ws_room(self, ws: WebSocket, name: str, *more: int, mode: str = "-") -> None:
            await ws.accept()
            await ws.send_json([name, *more, mode])

    assert (await handshake(Site(), "/room/a/1/2?mode=x")).messages == ['["a",1,2,"x"]']
    assert (await handshake(Site(), "/room/a/x")).refusal == 404


# --- arguments ------------------------------------------------------------------------------------------


class Arguments(App):
    async def one(self, x: Any = "default") -> Any:
        return [x if isinstance(x, str) else await contents(x)]

    async def keyword(self, *, x: str = "default") -> Any:
        return [x]

    async def identity(self, x: FromSession[str]) -> Any:
        return [x]

    async def files(self, x: list[Any]) -> Any:
        return [[upload["filename"], await contents(upload)] for upload in x]

    async def first_file(self, x: Any) -> Any:
        return [x["filename"], self.request.files["x"]["filename"]]

    async def needed(self, x: str) -> str:
        return x

    async def ws_one(self, ws: WebSocket, x: str = "default") -> None:
        await ws.accept()
        await ws.send(x)

    async def ws_needed(self, ws: WebSocket, x: int) -> None:
        await ws.accept()


async def app_with_session(**data: Any) -> Arguments:
    app = Arguments()
    await app.session_backend.save(ID, {"other": 1, **data}, 60)
    return app


@pytest.mark.parametrize(
    ("target", "headers", "body", "session", "value"),
    [
        ("/one/path?x=query", [FORM], b"x=form", {"x": "session"}, "path"),
        ("/one?x=query", [FORM], b"x=form", {"x": "session"}, "query"),
        ("/one?x=query", [JSON], b'{"x":"json"}', {"x": "session"}, "query"),
        ("/one?x=query", [MULTIPART], file("x", b"file") + END, {"x": "session"}, "query"),
        ("/one", [FORM], b"x=form", {"x": "session"}, "form"),
        ("/one", [JSON], b'{"x":"json"}', {"x": "session"}, "json"),
        ("/one", [MULTIPART], field("x", "form") + file("x", b"file") + END, {"x": "session"}, "form"),
        ("/one", [MULTIPART], file("x", b"file") + END, {"x": "session"}, "file"),
        ("/one", [MULTIPART], file("y", b"file") + END, {"x": "session"}, "session"),
        ("/one", [], b"", {"x": "session"}, "session"),
        ("/one", [], b"", {}, "default"),
        # A top-level key only.
        ("/one", [JSON], b'{"y":{"x":"deep"}}', {}, "default"),
        ("/one", [JSON], b'[{"x":"deep"}]', {}, "default"),
        # A keyword-only parameter: the same, without the path.
        ("/keyword?x=query", [FORM], b"x=form", {"x": "session"}, "query"),
        ("/keyword", [FORM], b"x=form", {"x": "session"}, "form"),
        ("/keyword", [JSON], b'{"x":"json"}', {"x": "session"}, "json"),
        ("/keyword", [], b"", {"x": "session"}, "session"),
        ("/keyword/path", [], b"", {}, None),
        # FromSession: none of them.
        ("/identity?x=query", [FORM], b"x=form", {"x": "session"}, "session"),
        ("/identity", [JSON], b'{"x":"json"}', {"x": "session"}, "session"),
        ("/identity", [MULTIPART], file("x", b"file") + END, {"x": "session"}, "session"),
    ],
)
async def test_path_query_body_file_session_default_in_this_order(
    target: str, headers: Any, body: bytes, session: Any, value: str | None
) -> None:
    app = await app_with_session(**session)
    answer = await http(app, target, "POST", headers=[COOKIE, *headers], body=body)
    assert (answer.status, answer.json if value else None) == (200 if value else 404, value and [value])


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([FORM], b"x=a"),
        ([JSON], b'{"x":"a"}'),
        ([MULTIPART], field("x", "a") + END),
        ([MULTIPART], file("x", b"a") + END),
    ],
)
async def test_identity_that_is_missing_is_401_whatever_is_sent(headers: Any, body: bytes) -> None:
    app = await app_with_session()
    answer = await http(app, "/identity?x=a", "POST", headers=[COOKIE, *headers], body=body)
    assert answer.status == 401


@pytest.mark.parametrize(
    ("headers", "body"), [([], b""), ([FORM], b"y=a"), ([JSON], b"{}"), ([MULTIPART], field("y", "a") + END)]
)
async def test_a_missing_value_is_named_whatever_was_sent(headers: Any, body: bytes) -> None:
    answer = await http(Arguments(), "/needed", "POST", headers=headers, body=body)
    assert (answer.status, answer.text) == (400, "400 Bad Request: the parameter 'x' is missing")


@pytest.mark.parametrize(
    ("target", "session", "value"),
    [
        ("/one/path?x=query", {"x": "session"}, "path"),
        ("/one?x=query", {"x": "session"}, "query"),
        ("/one", {"x": "session"}, "session"),
        ("/one", {}, "default"),
    ],
)
async def test_the_order_is_the_same_for_a_websocket(target: str, session: Any, value: str) -> None:
    app = await app_with_session(**session)
    assert (await handshake(app, target, headers=[COOKIE])).messages == [value]


@pytest.mark.parametrize(("query", "problem"), [("", "is missing"), ("?x=y", "must be an integer")])
async def test_a_refused_handshake_names_the_parameter(query: str, problem: str) -> None:
    client = await handshake(Arguments(), "/needed" + query)
    assert (client.refusal, client.refusal_body) == (
        400,
        f"400 Bad Request: the parameter 'x' {problem}".encode(),
    )


async def test_a_list_takes_every_file_of_a_repeated_name() -> None:
    body = file("x", b"a" * 100_000, "one") + file("x", b"b", "two") + END
    answer = await http(Arguments(), "/files", "POST", headers=[MULTIPART], body=body)
    assert answer.json == [["one", "a" * 100_000], ["two", "b"]]


@pytest.mark.parametrize("size", [10, 100_000])
async def test_one_parameter_takes_the_first_file_of_a_repeated_name(size: int) -> None:
    body = file("x", b"a", "one") + file("x", b"b", "two") + END
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    answer = await http(Arguments(), "/first_file", "POST", headers=[MULTIPART], body=pieces)
    assert answer.json == ["one", "one"]


# --- what a handler returns -----------------------------------------------------------------------------


class Returns(App):
    """Gives ``value`` from an async and from a sync handler."""

    value: Any = None

    async def index(self) -> Any:
        return self.value

    def sync(self) -> Any:
        return self.value


async def two_chunks() -> AsyncIterator[str]:
    yield "a"
    yield "b"


@pytest.mark.parametrize("target", ["/", "/sync"])
@pytest.mark.parametrize(
    ("make", "status", "body", "kind"),
    [
        (lambda: "text", 200, b"text", "text/html; charset=utf-8"),
        (lambda: b"bytes", 200, b"bytes", "text/html; charset=utf-8"),
        (lambda: {"a": 1}, 200, b'{"a":1}', "application/json"),
        (lambda: [1], 200, b"[1]", "application/json"),
        (lambda: (201, "made"), 201, b"made", "text/html; charset=utf-8"),
        (lambda: (202, {"a": 1}, [("Content-Type", "x/y")]), 202, b'{"a":1}', "x/y"),
        (lambda: None, 204, b"", None),
        (lambda: (chunk for chunk in "ab"), 200, b"ab", "text/html; charset=utf-8"),
        (two_chunks, 200, b"ab", "text/html; charset=utf-8"),
        (lambda: (203, two_chunks()), 203, b"ab", "text/html; charset=utf-8"),
    ],
)
async def test_sync_and_async_handlers_return_the_same_kinds(
    target: str, make: Callable[[], Any], status: int, body: bytes, kind: str | None
) -> None:
    app = Returns()
    app.value = make()
    answer = await http(app, target)
    assert (answer.status, answer.body, answer.headers.get("content-type")) == (status, body, kind)


@pytest.mark.parametrize("value", ["", "ä", b"", {}, (404, "x"), (302, "", [("Location", "/")]), (999, "")])
async def test_a_known_body_carries_its_length(value: Any) -> None:
    app = Returns()
    app.value = value
    answer = await http(app)
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize("annotation", [None, "None"])
async def test_a_handler_that_is_annotated_with_none_is_not_warned_of(
    annotation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def index(self: App):
        pass

    index.__annotations__ = {"return": annotation}
    assert (await http(type("Site", (App,), {"index": index})())).status == 204
    assert caplog.records == []


class Everywhere(App):
    """Raises one HTTPError at the place that the target names."""

    error = HTTPError(409, "once", [("X-A", "b")])

    def fail(self, place: str) -> None:
        if self.request.path == place:
            raise self.error

    async def deep(self) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deeper())
        return ""

    async def _deeper(self) -> None:
        self.fail("/deep")

    async def handler(self) -> str:
        self.fail("/handler")
        return ""

    def sync(self) -> str:
        self.fail("/sync")
        return ""

    async def stream(self) -> AsyncIterator[str]:
        self.fail("/stream")
        yield ""

    def sync_stream(self) -> Iterator[str]:
        self.fail("/sync_stream")
        yield ""

    async def ws_handler(self, ws: WebSocket) -> None:
        self.fail("/handler")


class FailingHooks(HttpMiddleware, WebSocketMiddleware):
    def __init__(self, app: Everywhere) -> None:
        self.app = app

    async def on_headers(self, request: Any) -> None:
        self.app.fail("/on_headers")

    async def before_request(self, request: Any) -> None:
        self.app.fail("/before")

    async def after_request(self, *arguments: Any) -> None:
        self.app.fail("/after")

    async def before_websocket(self, request: Any) -> None:
        self.app.fail("/before")


PLACES = ["on_headers", "before", "handler", "deep", "sync", "stream", "sync_stream", "after"]


@pytest.mark.parametrize("place", PLACES)
async def test_an_http_error_raised_anywhere_is_the_answer(place: str) -> None:
    app = Everywhere()
    app.middlewares.append(FailingHooks(app))
    for _ in range(2):
        answer = await http(app, f"/{place}")
        assert (answer.status, answer.text, answer.headers["x-a"]) == (409, "409 Conflict: once", "b")
    assert Everywhere.error.headers == [("X-A", "b")]


@pytest.mark.parametrize("place", ["before", "handler"])
async def test_an_http_error_raised_anywhere_before_accept_refuses(place: str) -> None:
    app = Everywhere()
    app.ws_middlewares.append(FailingHooks(app))
    client = await handshake(app, f"/{place}")
    assert (client.refusal, client.refusal_body) == (409, b"409 Conflict: once")
    assert (b"x-a", b"b") in client.sent[0]["headers"]


async def test_the_headers_of_an_http_error_can_be_a_dict() -> None:
    class Site(App):
        async def index(self) -> str:
            raise HTTPError(401, headers={"WWW-Authenticate": "Basic"})

    answer = await http(Site())
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Basic")


@pytest.mark.parametrize("body", ["x", b"x", {"a": 1}, None])
async def test_the_handlers_own_headers_are_never_changed(body: Any) -> None:
    given = [("X-A", "b")]

    class Site(App):
        async def index(self) -> Any:
            self.request.session["n"] = self.request.session.get("n", 0) + 1
            self.request.set_cookie("a", "1")
            return 200, body, given

    class Appends(HttpMiddleware):
        async def after_request(self, request: Any, status: int, body: Any, extra_headers: Any) -> None:
            extra_headers.append(("X-Hook", "h"))

    app = Site()
    app.middlewares.append(Appends())
    answers = [await http(app) for _ in range(2)]
    assert [len(answer.cookies) for answer in answers] == [2, 2]
    assert all(answer.headers["x-hook"] == "h" for answer in answers)
    assert given == [("X-A", "b")]


class UsesAgain(App):
    """Has one list of header fields for all answers."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = [("X-A", "b")]

    async def error(self) -> None:
        raise HTTPError(409, "", self.fields)

    async def redirect(self) -> Any:
        return self._redirect("/", self.fields)

    async def page(self) -> None:
        raise HTTPError(410)

    async def _error_page(self, status: int, detail: str) -> Any:
        return (status, "gone", self.fields) if status == 410 else None

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept(headers=self.fields)


class Adds(HttpMiddleware, WebSocketMiddleware):
    """Adds a session, a cookie and a field to each answer."""

    async def before_request(self, request: Any) -> None:
        request.session["n"] = 1
        request.set_cookie("a", "1")

    async def after_request(self, request: Any, status: int, body: Any, extra_headers: Any) -> None:
        extra_headers.append(("X-Hook", "h"))

    async def before_websocket(self, request: Any) -> None:
        await self.before_request(request)


class AnswersItself(HttpMiddleware):
    def __init__(self, fields: Any) -> None:
        self.fields = fields

    async def before_request(self, request: Any) -> Any:
        return {"headers": self.fields} if request.path == "/hook" else None


async def test_headers_that_are_used_again_are_never_changed() -> None:
    """Those of an error, a redirect, an error page, a hook and a handshake."""
    app = UsesAgain()
    app.middlewares += [Adds(), AnswersItself(app.fields)]
    app.ws_middlewares.append(Adds())
    for target, status in {"/error": 409, "/redirect": 302, "/page": 410, "/hook": 200}.items():
        for _ in range(2):
            answer = await http(app, target)
            assert (answer.status, answer.headers["x-a"], len(answer.cookies)) == (status, "b", 2), target
    for _ in range(2):
        client = await handshake(app)
        assert [name for name, _ in client.sent[0]["headers"]].count(b"set-cookie") == 2
    assert app.fields == [("X-A", "b")]


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


class Contexts(App):
    def handler(self) -> str:
        return f"{VARIABLE.get()} {self.request.path} {current_request.get() is self.request}"

    def stream(self) -> Iterator[str]:
        yield self.handler() + ","
        yield self.handler()


class SetsVariable(HttpMiddleware):
    async def before_request(self, request: Any) -> None:
        VARIABLE.set("set by a hook")


@pytest.mark.parametrize("threads", [True, False])
async def test_sync_handlers_and_generators_run_with_the_requests_context(
    threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "threads_exist", lambda: threads)
    app = Contexts()
    app.middlewares.append(SetsVariable())
    assert (await http(app, "/handler")).text == "set by a hook /handler True"
    assert (await http(app, "/stream")).text == "set by a hook /stream True,set by a hook /stream True"


async def test_sync_handlers_and_generators_never_block_an_open_socket() -> None:
    class Site(App):
        def __init__(self) -> None:
            super().__init__()
            self.entered = asyncio.Event()
            self.go_on = threading.Event()
            self.loop = asyncio.get_running_loop()

        def handler(self) -> str:
            self.loop.call_soon_threadsafe(self.entered.set)
            assert self.go_on.wait(10)
            return "done"

        def stream(self) -> Iterator[str]:
            yield self.handler()

        async def ws_echo(self, ws: WebSocket) -> None:
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    for target in ("/handler", "/stream"):
        app = Site()
        blocked = asyncio.create_task(http(app, target))
        await app.entered.wait()
        async with websocket(app, "/echo") as client:
            client.send("still answered")
            await client.next()
            assert await client.text() == "still answered"
        assert not blocked.done()
        app.go_on.set()
        assert (await blocked).text == "done"


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize(
    "error",
    [ValueError, StopIteration, StopAsyncIteration, SystemExit, GeneratorExit, asyncio.CancelledError],
)
@pytest.mark.parametrize("target", ["/handler", "/stream"])
async def test_sync_handlers_and_generators_may_raise_anything(
    target: str, error: type[BaseException], threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "threads_exist", lambda: threads)

    class Site(App):
        def handler(self) -> str:
            raise error

        def stream(self) -> Iterator[str]:
            self.handler()
            yield "never"

    answer = await http(Site(), target)
    assert (answer.status, answer.text) == (500, "500 Internal Server Error")


async def test_where_threads_do_not_exist_they_run_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "threads_exist", lambda: False)
    ran_in: list[threading.Thread] = []

    class Site(App):
        def handler(self) -> str:
            ran_in.append(threading.current_thread())
            return "inline"

        def stream(self) -> Iterator[str]:
            yield self.handler()

    assert (await http(Site(), "/handler")).text == (await http(Site(), "/stream")).text == "inline"
    assert set(ran_in) == {threading.current_thread()}


class EndlessStreams(App):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    async def stream(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "chunk"
        finally:
            self.log.append(f"finally of {self.request.path}")

    def sync_stream(self) -> Iterator[str]:
        try:
            while True:
                yield "chunk"
        finally:
            self.log.append(f"finally of {self.request.path}")


class Logs(HttpMiddleware):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def after_request(self, request: Any, status_code: int, body: Any, headers: Any) -> None:
        self.log.append(f"after {status_code} {hasattr(body, '__aiter__') or hasattr(body, '__next__')}")


@pytest.mark.parametrize("target", ["/stream", "/sync_stream"])
async def test_the_finally_of_a_stream_still_knows_its_request(target: str) -> None:
    app, leave = EndlessStreams(), asyncio.Event()
    await http(app, target, leave=leave, on_send=lambda message: leave.set())
    assert app.log == [f"finally of {target}"]


@pytest.mark.parametrize("target", ["/stream", "/sync_stream"])
async def test_an_after_hook_runs_once_and_sees_the_generator_when_the_client_is_lost(target: str) -> None:
    app, leave = EndlessStreams(), asyncio.Event()
    app.middlewares.append(Logs(app.log))
    await http(app, target, leave=leave, on_send=lambda message: leave.set())
    assert app.log == ["after 200 True", f"finally of {target}"]


# --- request --------------------------------------------------------------------------------------------


class CountingBackend(InMemorySessionBackend):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.saved: list[tuple[str, dict[str, Any], int]] = []

    async def load(self, session_id: str) -> dict[str, Any]:
        self.loaded.append(session_id)
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.saved.append((session_id, dict(data), timeout))
        await super().save(session_id, data, timeout)


@pytest.mark.parametrize(("headers", "loads"), [([], 0), ([("Cookie", "other=1")], 0), ([COOKIE], 1)])
async def test_the_session_is_loaded_when_somebody_looks(headers: Any, loads: int) -> None:
    class Site(App):
        async def index(self) -> str:
            return "looks at nothing"

        async def look(self) -> str:
            return f"{self.request.session}{self.request.session}"

        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()

        async def ws_look(self, ws: WebSocket) -> None:
            assert self.request.session is ws.session
            await ws.accept()

    backend = CountingBackend()
    await http(Site(backend), headers=headers)
    await handshake(Site(backend), headers=headers)
    assert backend.loaded == []
    await http(Site(backend), "/look", headers=headers)
    await handshake(Site(backend), "/look", headers=headers)
    assert backend.loaded == [ID] * loads * 2


async def test_the_session_is_a_dict_that_is_stored_with_the_answer() -> None:
    class Site(App):
        async def index(self) -> str:
            assert self.request.session == {}
            self.request.session["user"] = "alice"
            return ""

    backend = CountingBackend()
    [cookie] = (await http(Site(backend))).cookies
    session_id = cookie.partition("=")[2].partition(";")[0]
    assert backend.saved == [(session_id, {"user": "alice"}, SESSION_TIMEOUT)]


async def test_a_cookie_that_is_set_before_accept_comes_with_the_handshake() -> None:
    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            self.request.set_cookie("a", "1", secure=False)
            self.request.delete_cookie("b")
            await ws.accept()

    client = await handshake(Site())
    cookies = [value.decode() for name, value in client.sent[0]["headers"] if name == b"set-cookie"]
    assert [cookie.partition(";")[0] for cookie in cookies] == ["a=1", "b="]


class Uploads(App):
    async def whole(self, x: Any, y: str) -> Any:
        queue = x["content"]
        assert isinstance(queue, asyncio.Queue)
        assert queue.maxsize > 0
        pieces = []
        while not queue.empty():
            piece = queue.get_nowait()
            if piece is None:
                break
            pieces.append(piece)
        assert [await queue.get(), queue.get_nowait()] == [None, None]
        return [b"".join(pieces).decode(), y]


@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_queue_can_be_read_without_waiting_once_the_file_is_there(size: int) -> None:
    contents = "a" * size
    body = file("x", contents.encode()) + field("y", "later") + END
    answer = await http(Uploads(), "/whole", "POST", headers=[MULTIPART], body=body)
    assert answer.json == [contents, "later"]


@pytest.mark.parametrize("parts", [file("x", b"a") + field("y", ""), field("y", "") + file("x", b"a")])
async def test_a_file_that_is_read_after_its_handler_has_ended_is_an_error(parts: bytes) -> None:
    class Site(App):
        async def index(self, x: Any, y: str) -> str:
            self.queue = x["content"]
            return "ended"

    app = Site()
    assert (await http(app, "/", "POST", headers=[MULTIPART], body=parts + END)).text == "ended"
    with pytest.raises(MultipartFileError):
        await app.queue.get()
    assert await app.queue.get() is None


# --- WebSocket ------------------------------------------------------------------------------------------


async def test_what_a_websocket_says_of_itself_through_its_life() -> None:
    said: list[Any] = []

    def note(ws: WebSocket) -> None:
        said.append((ws.accepted, ws.closed, ws.close_code, ws.session_id))

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            assert ws.subprotocols == ("a", "b")
            note(ws)
            await ws.accept("b")
            note(ws)
            with pytest.raises(ConnectionClosed):
                await ws.receive()
            note(ws)

    app = Site()
    await app.session_backend.save(ID, {"user": "alice"}, 60)
    async with websocket(app, headers=[COOKIE], subprotocols=["a", "b"], leave=False) as client:
        client.leave(4001)
    assert said == [(False, False, None, ID), (True, False, None, ID), (True, True, 4001, ID)]


async def test_a_session_that_begins_before_accept_has_its_id_afterwards() -> None:
    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            self.request.session["user"] = "alice"
            assert ws.session_id is None
            await ws.accept()
            assert await self.session_backend.load(ws.session_id or "") == {"user": "alice"}

    assert (await handshake(Site())).accepted


def test_a_connection_that_closed_without_a_code_is_1005() -> None:
    closed = ConnectionClosed()
    assert (closed.code, closed.reason) == (1005, "")


async def test_until_closed_drops_what_comes_in_meanwhile() -> None:
    go_on = asyncio.Event()

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            async with ws.until_closed():
                await go_on.wait()
            await ws.send(await ws.receive())

    async with websocket(Site()) as client:
        await client.next()
        client.send("dropped")
        for _ in range(10):  # by then it is read
            await asyncio.sleep(0)
        go_on.set()
        for _ in range(10):  # by then the block is left
            await asyncio.sleep(0)
        client.send("received")
        assert await client.text() == "received"


# --- middleware -----------------------------------------------------------------------------------------


class Hooks(HttpMiddleware, WebSocketMiddleware):
    def __init__(self, name: str, log: list[str], **results: Any) -> None:
        self.name, self.log, self.results = name, log, results

    async def on_headers(self, request: Any) -> Any:
        return self._result("on_headers")

    async def before_request(self, request: Any) -> Any:
        return self._result("before_request")

    async def after_request(self, *arguments: Any) -> Any:
        return self._result("after_request")

    async def before_websocket(self, request: Any) -> Any:
        return self._result("before_websocket")

    async def after_websocket(self, request: Any) -> Any:
        return self._result("after_websocket")

    def _result(self, hook: str) -> Any:
        self.log.append(f"{self.name} {hook}")
        return self.results.get(hook)


class Hooked(App):
    async def index(self) -> str:
        return "index"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()


@pytest.mark.parametrize("result", ["text", True, 0, (403, ""), ["list"]])
@pytest.mark.parametrize("hook", ["on_headers", "before_request", "after_request"])
async def test_what_is_neither_none_nor_a_dict_is_an_error(hook: str, result: Any) -> None:
    app = Hooked()
    app.middlewares.append(Hooks("a", [], **{hook: result}))
    assert (await http(app)).status == 500


@pytest.mark.parametrize("result", ["text", True, 0, (403, ""), ["list"]])
async def test_what_is_neither_none_nor_a_dict_refuses_a_handshake(result: Any) -> None:
    app = Hooked()
    app.ws_middlewares.append(Hooks("a", [], before_websocket=result))
    assert (await handshake(app)).refusal == 500


@pytest.mark.parametrize(
    ("hook", "log"),
    [
        ("on_headers", ["a on_headers", "b on_headers"]),
        (
            "before_request",
            [
                *("a on_headers", "b on_headers", "c on_headers"),
                *("a before_request", "b before_request", "a after_request"),
            ],
        ),
    ],
)
async def test_after_hooks_run_for_exactly_those_whose_before_hook_returned_none(
    hook: str, log: list[str]
) -> None:
    app = Hooked()
    got: list[str] = []
    stop = {hook: {"status_code": 403, "body": {"no": 1}, "headers": {"X-A": "b"}}}
    app.middlewares += [Hooks("a", got), Hooks("b", got, **stop), Hooks("c", got)]
    answer = await http(app)
    assert (answer.status, answer.json, answer.headers["x-a"]) == (403, {"no": 1}, "b")
    assert got == log


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ({"status_code": 401, "body": "log in", "headers": [("X-A", "b")]}, 401, b"log in"),
        ({"status_code": 401, "body": {"a": 1}, "headers": {"X-A": "b"}}, 401, b'{"a":1}'),
    ],
)
async def test_a_handshake_is_refused_with_status_body_and_headers(
    result: Any, status: int, body: bytes
) -> None:
    app = Hooked()
    log: list[str] = []
    app.ws_middlewares += [Hooks("a", log), Hooks("b", log, before_websocket=result), Hooks("c", log)]
    client: Client = await handshake(app)
    assert (client.refusal, client.refusal_body) == (status, body)
    assert (b"x-a", b"b") in client.sent[0]["headers"]
    assert log == ["a before_websocket", "b before_websocket", "a after_websocket"]


# --- sessions -------------------------------------------------------------------------------------------


class Plain(SessionBackend):
    """No more than load and save."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[dict[str, Any], int]] = {}

    async def load(self, session_id: str) -> dict[str, Any]:
        return dict(self.stored.get(session_id, ({}, 0))[0])

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.stored.pop(session_id, None)
        if data:
            self.stored[session_id] = (dict(data), timeout)


def test_a_backend_needs_load_and_save() -> None:
    for name in ("load", "save"):
        half = type("Half", (SessionBackend,), {name: getattr(Plain, name)})
        with pytest.raises(TypeError, match="abstract"):
            half()


def test_sessions_are_in_memory_unless_a_backend_is_given() -> None:
    assert isinstance(App().session_backend, InMemorySessionBackend)
    backend = Plain()
    assert App(backend).session_backend is backend


async def test_saving_empty_data_deletes() -> None:
    backend = InMemorySessionBackend()
    await backend.save(ID, {"a": 1}, 60)
    await backend.save(ID, {}, 60)
    assert await backend.load(ID) == {}
    assert not backend._sessions


@pytest.mark.parametrize("backend", [Plain(), InMemorySessionBackend()])
async def test_update_merges_removes_renews_and_never_revives(backend: SessionBackend) -> None:
    assert await backend.update(ID, {"a": 1}, (), 60) is False
    assert await backend.load(ID) == {}
    await backend.save(ID, {"a": 1, "b": 2, "c": 3}, 60)
    assert await backend.update(ID, {"a": 5, "d": 4}, {"b", "absent"}, 99)
    assert await backend.load(ID) == {"a": 5, "c": 3, "d": 4}
    if isinstance(backend, Plain):
        assert backend.stored[ID][1] == 99
    await backend.update(ID, {}, {"a", "c", "d"}, 60)
    assert await backend.load(ID) == {}
    assert not vars(backend).get("stored")
