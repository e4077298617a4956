"""What the service allows: one dataclass, and the file of tokens."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

from intraclip.errors import ConfigError

API = "/api/v1"
"""Every path of the API begins with it."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

LOCAL = "local"
"""Who acts where no token is asked for; stands in the audit log."""

MIN_TOKEN = 24
"""Characters; shorter ones can be guessed."""

TOKEN_REMEDY = '(umask 077; echo "alice $(openssl rand -hex 32)" > tokens)'


@dataclass(frozen=True)
class Token:
    """Who may come in.

    Attributes:
        name: of the holder; stands in the audit log.
        digest: SHA-256 of the secret. The secret itself is not kept.
    """

    name: str
    digest: bytes

    @classmethod
    def of(cls, name: str, secret: str) -> Token:
        """The token of a secret."""
        return cls(name, hashlib.sha256(secret.encode()).digest())


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What the service allows.

    Attributes:
        host: address it listens on.
        port: TCP port; 0 for any free one.
        allow_hosts: further names that it is reached under, such as that of a proxy. With one of them it counts as
            reachable from elsewhere.
        tokens: who may come in; may be empty on loopback only.
        tls: whether it speaks HTTPS itself.
        max_upload_bytes: of all files of one search together.
        max_files: pictures of one search.
        max_image_pixels: of one picture, or of one frame of a clip.
        max_clip_s: longest clip, in seconds.
        max_body_bytes: of every other request.
        searches: searches that run at once.
        embeddings: uploads that are decoded and embedded at once.
        waiting: requests that may wait for a slot, of each of the two kinds; more are answered with 503.
        session_s: after this the page asks for the token again.
        stop_s: how long running requests may take once the service was told to stop.

    Raises:
        ConfigError: reachable from elsewhere without a token, or a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allow_hosts: frozenset[str] = frozenset()
    tokens: tuple[Token, ...] = ()
    tls: bool = False
    max_upload_bytes: int = 64 * 2**20
    max_files: int = 16
    max_image_pixels: int = 40_000_000
    max_clip_s: float = 60.0
    max_body_bytes: int = 2**16
    searches: int = 4
    embeddings: int = 1
    waiting: int = 200
    session_s: int = 12 * 3600
    stop_s: int = 30

    names: frozenset[str] = field(init=False)
    """Host names that requests may carry, without port; see `allows_host`."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}: at least {least} is needed"
            for name, least in (
                ("max_upload_bytes", 1024), ("max_files", 1), ("max_image_pixels", 1), ("max_clip_s", 0.1),
                ("max_body_bytes", 1024), ("searches", 1), ("embeddings", 1), ("waiting", 0), ("session_s", 60),
                ("stop_s", 0),
            )
            if getattr(self, name) < least
        ]  # fmt: skip
        if not 0 <= self.port < 65_536:
            problems.append(f"port is {self.port}: 0 to 65535 are possible")
        if not self.loopback and not self.tokens:
            reach = f"host {self.host}" if not is_loopback(self.host) else "a foreign host name is allowed"
            problems.append(
                f"{reach}: others could reach the pictures, so a token is required. Write one with "
                f"{TOKEN_REMEDY} and pass --token-file tokens, or stay on 127.0.0.1"
            )
        if problems:
            raise ConfigError("; ".join(problems))
        names = {_bare(self.host), *map(_bare, self.allow_hosts)}
        names |= LOOPBACK_NAMES if self.loopback else {*LOOPBACK_NAMES, *_own_names()}
        object.__setattr__(self, "names", frozenset(names))

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return is_loopback(self.host) and not {h for h in self.allow_hosts if not is_loopback(_bare(h))}

    def allows_host(self, header: str) -> bool:
        """Whether a Host header names this service.

        A foreign page whose name server says that its name is this machine (DNS rebinding) carries that name. Beyond
        loopback every IP address passes: it needs no name server.
        """
        name = _bare(header)
        return name in self.names or (not self.loopback and _ip(name) is not None)

    def holder(self, secret: str) -> str | None:
        """The name of a token's holder; all tokens are compared, each in constant time."""
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        found = None
        for token in self.tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token.name
        return found


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read a file of tokens: a name and a secret on each line; empty lines and those that begin with # do not count.

    Raises:
        ConfigError: it cannot be read, is empty, a line is wrong, a secret is too short, or a name occurs twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text file"
        raise ConfigError(f"the file of tokens {path} cannot be read: {reason}") from None
    tokens: dict[str, Token] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 2:
            raise ConfigError(
                f"{path}, line {number}: write a name and a secret; make one with {TOKEN_REMEDY}"
            )
        name, secret = parts
        if len(secret) < MIN_TOKEN:
            raise ConfigError(
                f"{path}, line {number}: the secret of {name} has {len(secret)} characters, at least {MIN_TOKEN} are "
                f"needed; make one with {TOKEN_REMEDY}"
            )
        if name in tokens or name == LOCAL:
            raise ConfigError(f"{path}, line {number}: the name {name} is taken; give every holder one")
        tokens[name] = Token.of(name, secret)
    if not tokens:
        raise ConfigError(f"the file of tokens {path} holds none; write one with {TOKEN_REMEDY}")
    return tuple(tokens.values())


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    address = _ip(host)
    return host == "localhost" if address is None else address.is_loopback


def _bare(host: str) -> str:
    """A host without port, brackets and the dot at its end, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name = host.rpartition(":")[0] if host.count(":") == 1 else host
    return name.rstrip(".")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local", socket.getfqdn().lower()}
