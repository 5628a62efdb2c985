"""The pytest plugin: a real server for tests, and a recorder of what goes over a browser page's WebSockets.

pytest loads it by itself wherever MicroPie is installed; it imports nothing more until a test asks for a fixture.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing.browser import Recorder
    from .testing.server import LiveServer, LiveServerFactory

_FACTORIES: pytest.StashKey[list[LiveServerFactory]] = pytest.StashKey()
_RECORDERS: pytest.StashKey[list[Recorder]] = pytest.StashKey()
_FOLDERS: pytest.StashKey[pytest.TempPathFactory] = pytest.StashKey()

_OURS = frozenset(("live_server", "live_server_factory", "record_websockets"))


@pytest.fixture
def live_server(request: pytest.FixtureRequest) -> Iterator[LiveServerFactory]:
    """A function that serves an app for this test: ``live_server(app)``, ``live_server("app.py")``.

    The path of a file is looked for beside the test, then in the working directory.  See
    :class:`micropie.testing.server.LiveServer` for what it returns and more it takes.
    """
    from .testing.server import LiveServerFactory

    yield from _lend(request.config, LiveServerFactory(request.path.parent))


@pytest.fixture(scope="session")
def live_server_factory(request: pytest.FixtureRequest) -> Iterator[LiveServerFactory]:
    """The same with servers that run until the end of the session, for fixtures with a scope of their own.

    The path of a file is looked for in pytest's root folder, then in the working directory.
    """
    from .testing.server import LiveServerFactory

    yield from _lend(request.config, LiveServerFactory(request.config.rootpath))


def _lend(config: pytest.Config, factory: LiveServerFactory) -> Iterator[LiveServerFactory]:
    factories = config.stash.setdefault(_FACTORIES, [])
    factories.append(factory)
    yield factory
    factories.remove(factory)
    factory.close()
    _check(factory.servers)


@pytest.fixture
def record_websockets(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """A function that records what goes over a Playwright page's WebSockets.

    ``record_websockets(page)``, or ``await record_websockets(page)`` for a page of Playwright's async form, before
    the page goes anywhere.  A test that fails shows the end of what was recorded, and names a file with all of it.  See
    :func:`micropie.testing.browser.record_websockets`.
    """
    from .testing.browser import recorder

    request.config.stash[_FOLDERS] = tmp_path_factory
    recorders = request.node.stash.setdefault(_RECORDERS, [])

    def record(page: Any, **options: Any) -> Any:
        recorders.append(recorder(page, **options))
        return recorders[-1].start()

    return record


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let an error in a server's log be one of the test during which it came."""
    try:
        result = yield
    except BaseException:
        for server in _servers(item.config):
            server.forgive()  # the test has failed by itself, and the log is shown with it
        raise
    _check(_servers(item.config))
    return result


def _check(servers: list[LiveServer]) -> None:
    for server in servers:
        try:
            server.check()
        except AssertionError as error:
            # From nothing, so that pytest says it once.
            raise pytest.fail.Exception(str(error), pytrace=False) from None


def _servers(config: pytest.Config) -> list[LiveServer]:
    return [server for factory in config.stash.get(_FACTORIES, []) for server in factory.servers]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what was recorded of a page with a test that fails: its end, and where all of it is."""
    report = yield
    if report.failed:
        recorders = item.stash.get(_RECORDERS, None) or []
        for number, recorder in enumerate(recorders, 1):
            report.sections.append(("WebSockets of a page", _shown(item, recorder, number)))
    return report


def _shown(item: pytest.Item, recorder: Recorder, number: int) -> str:
    shown, whole = str(recorder), recorder.transcript
    if shown == whole:
        return shown
    file = item.config.stash[_FOLDERS].mktemp("websockets") / f"page{number}.txt"
    file.write_text(f"{item.nodeid}\n{whole}\n", encoding="utf-8")
    return f"{shown}\nAll of it is in {file}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests with a page of Playwright's sync form come after the async ones, if some of them use our fixtures.

    From its first page on, and up to the end of the run, that form keeps an event loop running in this thread, in which
    no other loop can run: an async test after it would fail.
    """
    paged = [item for item in items if _has_sync_page(item)]
    if not any(_OURS.intersection(_fixtures(item)) for item in paged):
        return
    last_async = max((index for index, item in enumerate(items) if _is_async(item)), default=0)
    if any(_has_sync_page(item) for item in items[:last_async]):
        items[:] = [item for item in items if not _has_sync_page(item)] + paged


def _fixtures(item: pytest.Item) -> list[str]:
    names: list[str] = getattr(item, "fixturenames", [])
    return names


def _has_sync_page(item: pytest.Item) -> bool:
    return "playwright" in _fixtures(item) and not _is_async(item)


def _is_async(item: pytest.Item) -> bool:
    return inspect.iscoroutinefunction(getattr(item, "obj", None))
