"""The pytest plugin: a real server for tests, and a recorder of what goes over a browser page's WebSockets.

pytest loads it by itself wherever MicroPie is installed; it imports nothing more until a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing.browser import Recorder
    from .testing.server import LiveServer, LiveServerFactory

_FACTORIES: pytest.StashKey[list[LiveServerFactory]] = pytest.StashKey()
_RECORDERS: pytest.StashKey[list[Recorder]] = pytest.StashKey()


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
def record_websockets(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function that records what goes over a Playwright page's WebSockets.

    ``record_websockets(page)``, or ``await record_websockets(page)`` for a page of Playwright's async form, before
    the page goes anywhere.  What was recorded is shown with a test that fails.  See
    :func:`micropie.testing.browser.record_websockets`.
    """
    from .testing.browser import recorder

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
    """Show what was recorded of a page with a test that fails."""
    report = yield
    if report.failed:
        for recorder in item.stash.get(_RECORDERS, []):
            report.sections.append(("WebSockets of a page", str(recorder)))
    return report
