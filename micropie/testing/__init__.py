"""Tests of an app; needs the extra ``testing``.

Here is the client that talks to an app without a server.  A real server for tests is in
:mod:`micropie.testing.server`, and what goes over the WebSockets of a real browser's page is recorded by
:mod:`micropie.testing.browser`; both are mostly used as the fixtures of :mod:`micropie.pytest_plugin`.
"""

from __future__ import annotations

from .client import TestClient, TestWebSocket

__all__ = ["TestClient", "TestWebSocket"]
