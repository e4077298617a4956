"""Sessions of the page: a random number in a cookie stands for a token's holder."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time

from intraclip.serve.tokens import Token

MOST = 10_000
"""Sessions kept; the oldest goes first."""


class Sessions:
    """Who is logged in. Kept in memory: a restart logs everybody out."""

    def __init__(self, lifetime_s: float) -> None:
        self.lifetime_s = lifetime_s
        self._lock = threading.Lock()
        self._open: dict[bytes, tuple[Token, float]] = {}

    def begin(self, token: Token) -> str:
        """A new session; returns the cookie's value."""
        value = secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            self._open = {k: v for k, v in self._open.items() if v[1] > now}
            while len(self._open) >= MOST:
                del self._open[next(iter(self._open))]
            self._open[_key(value)] = token, now + self.lifetime_s
        return value

    def token(self, value: str) -> Token | None:
        """The token that it was begun with; None for a session that is over, or never was."""
        with self._lock:
            found = self._open.get(_key(value))
        return found[0] if found is not None and found[1] > time.monotonic() else None

    def end(self, value: str) -> None:
        """Log out."""
        with self._lock:
            self._open.pop(_key(value), None)


def _key(value: str) -> bytes:
    """Looked up by its hash, so that the time of the look-up says nothing about the value."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
