"""Who may come in: tokens, the file they stand in, and how often a wrong one may be tried."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import shlex
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intraclip.errors import ConfigError

LOCAL = "local"
"""Who acts where no token is asked for; stands in the audit log."""

MIN_TOKEN = 24
"""Characters; shorter ones can be guessed."""

MAX_HOLDER = 100
"""Characters of a holder's name."""

READ_ONLY = "read-only"
"""Third word of a line: its holder may look and search, and change nothing."""

TOKEN_REMEDY = '(umask 077; echo "alice $(openssl rand -hex 32)" > tokens)'

MOST_ADDRESSES = 10_000
"""Addresses that are remembered for their attempts; the oldest goes first."""

MOST_SESSIONS = 10_000
"""Sessions kept; the oldest goes first."""


@dataclass(frozen=True)
class Token:
    """Who may come in.

    Attributes:
        name: of the holder; stands in the audit log.
        digest: SHA-256 of the secret. The secret itself is not kept.
        read_only: the holder may look and search, and change nothing.
    """

    name: str
    digest: bytes
    read_only: bool = False

    @classmethod
    def of(cls, name: str, secret: str, *, read_only: bool = False) -> Token:
        """The token of a secret."""
        return cls(name, _digest(secret), read_only)


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read a file of tokens: a name, a secret and perhaps ``read-only`` on each line; ``#`` begins a comment line.

    Raises:
        ConfigError: it cannot be read, others can read it, it is empty, a line is wrong, a secret is too short, or a
            name occurs twice.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise ConfigError(f"the file of tokens {path} cannot be read: {reason}") from None
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(
            f"others than its owner can use the file of tokens {path} (mode {mode:03o}): whoever reads it can come "
            f"in. Run: chmod 600 {shlex.quote(str(path))}"
        )
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split()
        if len(parts) not in (2, 3) or parts[2:] not in ([], [READ_ONLY]):
            raise ConfigError(
                f"{path}, line {number}: write a name and a secret, and {READ_ONLY} behind them for somebody who may "
                f"change nothing; make one with {TOKEN_REMEDY}"
            )
        name, secret = parts[:2]
        if not name.isprintable() or len(name) > MAX_HOLDER:
            raise ConfigError(
                f"{path}, line {number}: the name {name[:40]!r} is not printable, or longer than {MAX_HOLDER} "
                "characters"
            )
        if len(secret) < MIN_TOKEN:
            raise ConfigError(
                f"{path}, line {number}: the secret of {name} has {len(secret)} characters, at least {MIN_TOKEN} are "
                f"needed; make one with {TOKEN_REMEDY}"
            )
        if name in tokens or name == LOCAL:
            raise ConfigError(f"{path}, line {number}: the name {name} is taken; give every holder one")
        tokens[name] = Token.of(name, secret, read_only=len(parts) == 3)
    if not tokens:
        raise ConfigError(f"the file of tokens {path} holds none; write one with {TOKEN_REMEDY}")
    return tuple(tokens.values())


class Tokens:
    """The tokens that count now. The file is read again as soon as it has changed, so that who was removed is out."""

    def __init__(self, fixed: tuple[Token, ...], path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._found: tuple[Token, ...] | ConfigError = fixed
        self.required = bool(fixed) or path is not None

    def current(self) -> tuple[Token, ...]:
        """All of them.

        Raises:
            ConfigError: the file cannot be used any more. Who was removed from it is not known, so nobody counts.
        """
        with self._lock:
            if self._path is not None and (stamp := _stamp(self._path)) != self._stamp:
                try:
                    self._found = read_tokens(self._path)
                except ConfigError as error:
                    self._found = error
                self._stamp = stamp
            if isinstance(self._found, ConfigError):
                raise self._found
            return self._found

    def find(self, secret: str) -> Token | None:
        """The token of a secret; all are compared, each in constant time."""
        digest, found = _digest(secret), None
        for token in self.current():
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


class Sessions:
    """Who is logged in on the page: a random number in a cookie stands for a token's holder.

    Kept in memory: a restart logs everybody out. By its hash, so that the time of a look-up says nothing about it.
    """

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
            self._open[_digest(value)] = token, now + self.lifetime_s
            _forget_oldest(self._open, MOST_SESSIONS)
        return value

    def token(self, value: str) -> Token | None:
        """The token that it was begun with; None for a session that is over, or never was."""
        with self._lock:
            found = self._open.get(_digest(value))
        return found[0] if found is not None and found[1] > time.monotonic() else None

    def end(self, value: str) -> None:
        """Log out."""
        with self._lock:
            self._open.pop(_digest(value), None)


class Attempts:
    """Counts wrong tokens of the last minute, by address and in all.

    Args:
        each: wrong ones that an address may send in a minute.
        total: that all may send together. An address that was let in before is not held up by others' attempts.
        clock: seconds.
    """

    WINDOW_S = 60.0

    def __init__(self, each: int, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each, self._clock = each, clock
        self._all: deque[float] = deque(maxlen=total)
        self._by: dict[str, deque[float]] = {}
        self._known: dict[str, None] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Seconds until a token from this address is looked at again; 0 for now."""
        address = _network(address)
        with self._lock:
            counted = [self._by.get(address), None if address in self._known else self._all]
            full = [times for times in counted if times is not None and len(times) == times.maxlen]
            return max([0.0, *(times[0] + self.WINDOW_S - self._clock() for times in full)])

    def failed(self, address: str) -> None:
        """A wrong token came from there."""
        address = _network(address)
        with self._lock:
            mine = self._by.pop(address, deque(maxlen=self._each))
            for times in (mine, self._all):
                times.append(self._clock())
            self._by[address] = mine
            _forget_oldest(self._by, MOST_ADDRESSES)

    def succeeded(self, address: str) -> None:
        """A right token came from there."""
        address = _network(address)
        with self._lock:
            self._known.pop(address, None)
            self._known[address] = None
            _forget_oldest(self._known, MOST_ADDRESSES)


def _forget_oldest(kept: dict[Any, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def _network(address: str) -> str:
    """An IPv6 network of 64 bits counts as one address: its owner has all of them."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
