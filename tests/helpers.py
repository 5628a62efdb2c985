"""What several test modules say: where the repository is, a session that the client knows, a form's media type."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]

ID = "a-session-that-the-client-knows"
COOKIE = ("Cookie", f"session_id={ID}")
COOKIES = [COOKIE]

FORM = ("Content-Type", "application/x-www-form-urlencoded")
