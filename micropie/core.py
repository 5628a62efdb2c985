"""What an app keeps for itself.

All other names of an app belong to its subclasses: a ``self._pool`` or ``self._limits`` of theirs changes nothing here.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Hashable
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .concurrency import Pool
from .exceptions import HTTPError
from .middleware import Hooks
from .request.body import Limits
from .request.origins import parse_hosts
from .routing.mounts import Mount, mount_of
from .routing.routes import Routes
from .sessions.view import Recently
from .settings import CHECKS, SessionCookie, parse_origins, session_cookie
from .websocket.stalled import Watch

if TYPE_CHECKING:
    from .app import App
    from .request.request import Request
    from .websocket.websocket import WebSocket

logger: logging.Logger = logging.getLogger("micropie")


class Core:
    """The private half of one app: what its settings come to, its routes, and what is open.

    Args:
        app: The app.
        root: The class whose own methods aren't handlers.

    Attributes:
        mounts: The apps below prefixes, the longest prefix first.
        open_websockets: The WebSockets that were accepted and whose handlers have not ended.
        pool: The threads of sync handlers.
        limits: What a body may cost.
        recently: What has happened lately to its sessions.
        allowed_origins: The setting, in the form in which browsers send origins.
        allowed_hosts: The setting, in lower case.
        begun: Whether there was a lifespan, or else a request.
        plain: Whether it is, and there are neither mounts nor allowed hosts, so that a request need not look.
        hooks: What is known of its HTTP middlewares.
        session_cookie: How the session's cookie looks.
        http_routes: The HTTP handlers.
        watch: Who looks after the open WebSockets.
        websocket_routes: The WebSocket handlers.
    """

    __slots__ = (
        "_app",
        "_root",
        "_warned",
        "allowed_hosts",
        "allowed_origins",
        "begun",
        "hooks",
        "http_routes",
        "limits",
        "mounts",
        "open_websockets",
        "plain",
        "pool",
        "recently",
        "session_cookie",
        "watch",
        "websocket_routes",
    )
    allowed_hosts: frozenset[str]
    allowed_origins: frozenset[str]
    limits: Limits
    plain: bool
    session_cookie: SessionCookie

    def __init__(self, app: App, root: type[App]) -> None:
        self._app = app
        self._root = root
        self._warned: set[Hashable] = set()
        self.begun: bool = False
        self.hooks: Hooks = Hooks([])
        self.mounts: list[Mount] = []
        self.open_websockets: set[WebSocket] = set()
        self.watch: Watch = Watch(app, self.open_websockets)
        self.pool: Pool = Pool(root.sync_workers)
        self.recently: Recently = Recently()
        self.http_routes: Routes = Routes(app, root)
        self.websocket_routes: Routes = Routes(app, root, websocket=True)

    # --- settings --------------------------------------------------------------------------------------

    def configure(self, given: dict[str, Any]) -> None:
        """Give the app its settings: the given ones, else those of its class.

        Raises:
            TypeError: For a setting that does not exist or has the wrong type.
            ValueError: For one that is out of bounds.
        """
        unknown = given.keys() - CHECKS.keys()
        if unknown:
            raise TypeError(
                f"App has no setting {', '.join(sorted(unknown))}; it has {', '.join(sorted(CHECKS))}"
            )
        try:
            for name in CHECKS:
                setattr(self._app, name, given[name] if name in given else self._stated_by_class(name))
        except BaseException:
            for name in ("allowed_hosts", "plain"):  # each request looks at this one, and so is told again
                with suppress(AttributeError):
                    delattr(self, name)
            self.__class__ = Unsettled
            raise
        self.__class__ = Core

    def check(self) -> None:
        """Say now what is wrong with a setting, and not at the first request.

        Raises:
            TypeError: As :meth:`configure`.
            ValueError: As :meth:`configure`.
        """
        for name in Core.__slots__:
            getattr(self, name)

    def put_into_effect(self, name: str) -> None:
        """Bring a setting that was assigned to the app into the form that requests need."""
        app = self._app
        if name == "allowed_origins":
            self.allowed_origins = parse_origins(app.allowed_origins)
        elif name == "allowed_hosts":
            self.allowed_hosts = parse_hosts(app.allowed_hosts)
            self.settle()
        elif name == "session_cookie":
            self.session_cookie = session_cookie(app.session_cookie)
        elif name == "sync_workers":
            self.pool.resize(app.sync_workers)
        elif name.startswith(("body_", "max_")):
            self.limits = Limits(
                gap=app.body_timeout,
                body=app.max_body_size,
                json=app.max_json_size,
                field=app.max_form_field_size,
                parts=app.max_form_parts,
            )

    def _stated_by_class(self, name: str) -> Any:
        """A setting as the class states it; a route that happens to have its name does not count."""
        app = self._app
        value = inspect.getattr_static(type(app), name)
        if not isinstance(value, FunctionType):
            return getattr(app, name)
        default = getattr(self._root, name)
        if not callable(default):
            return default
        # A function that takes what the setting is called with is meant as it is, another one is a method.
        as_it_is = len(inspect.signature(value).parameters) == len(inspect.signature(default).parameters)
        return value if as_it_is else getattr(app, name)

    # --- who answers -----------------------------------------------------------------------------------

    def route_of(self, request: Request) -> str | None:
        """The name of the handler, or the prefix of the mount, that a request leads to; None for none."""
        scope = request.scope
        if request._subapp is not None:
            return "/" + request._subapp_mount_path.strip("/")
        mount = mount_of(self.mounts, scope)
        if mount is not None:
            return mount.prefix
        websocket = scope["type"] == "websocket"
        routes = self.websocket_routes if websocket else self.http_routes
        chosen = request._ws_route_handler if websocket else request._route_handler
        segments = request.x_segments
        try:
            return routes.find(request, chosen).name
        except (HTTPError, LookupError):
            return None
        finally:
            request.x_segments = segments  # a hook may still choose another one

    def settle(self) -> None:
        """Note whether a request has to look at more than its handler."""
        try:
            hosts = object.__getattribute__(self, "allowed_hosts")
        except AttributeError:
            return  # a setting is wrong, which each request is told
        self.plain = self.begun and not self.mounts and not hosts

    def started(self) -> None:
        """Note that there was a lifespan, or a request."""
        self.begun = True
        self.settle()

    def begin(self) -> None:
        """Note that there was a request; without a lifespan before it, what should have run at startup has not."""
        self.started()
        if self._app.startup_handlers or self._app.shutdown_handlers:
            logger.warning(
                "the startup and shutdown handlers of %s do not run: neither the server nor an app around it has sent "
                "a lifespan; mount the other app in this one, or call them in the other's lifespan",
                type(self._app).__name__,
            )

    # --- session ids -----------------------------------------------------------------------------------

    def checked_session_id(self, value: str | None) -> str | None:
        """The id of a cookie if it may be looked up, else None."""
        validator = self._app.session_id_validator
        if not value or validator is None:
            return value or None
        try:
            found = validator(value)
        except ValueError:  # as converters such as UUID say no
            return None
        except Exception:
            logger.exception("session_id_validator failed, so the id counts as none")
            return None
        # One that only says yes, or returns what it has made of the id, means the id.
        return found if isinstance(found, str) else value if found else None

    def new_session_id(self) -> str:
        """An id for a session that begins.

        Raises:
            RuntimeError: If the factory makes ids that the validator does not let pass.
        """
        session_id = self.checked_session_id(self._app.session_id_factory())
        if session_id is None:
            raise RuntimeError("session_id_factory makes ids that session_id_validator does not let pass")
        return session_id

    # --- warnings --------------------------------------------------------------------------------------

    def is_first(self, warning: Hashable) -> bool:
        """Whether this warning has not been given before; it counts as given now."""
        if warning in self._warned:
            return False
        self._warned.add(warning)
        return True

    def warn_of_plain_http(self, host: str) -> None:
        """Warn, once, that a session's cookie can be read on its way."""
        if self.is_first("plain HTTP"):
            logger.warning(
                "a session cookie for %r went over plain HTTP: others can read it, and a browser drops one that "
                "is Secure; use HTTPS, and have the server trust its proxy's headers",
                host,
            )


class Unsettled(Core):
    """The same as long as a setting is wrong, or may need what ``__init__()`` of the app sets later.

    PERF: ``__getattr__`` makes each look at any attribute of a class several times as dear, so :class:`Core` has none.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        """What is not there yet, as ``__init__()`` of the app did not call ours: its class has a setting that is wrong.

        Or that needs what ``__init__()`` has set only now, and is taken now.

        Raises:
            AttributeError: For what will never be there.
            TypeError: As :meth:`configure`.
            ValueError: As :meth:`configure`.
        """
        if name not in Core.__slots__ or name in {"_app", "_root"}:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self.configure({})
        return object.__getattribute__(self, name)
