"""What the service allows."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

from intraclip.errors import ConfigError
from intraclip.serve.tokens import TOKEN_REMEDY, Token

API = "/api/v1"
"""Every path of the API begins with it."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """What decoding the files of one upload may cost; what costs more is refused, or ended.

    Attributes:
        image_side: pixels, of a picture or of a frame of a clip.
        image_pixels: of a picture, or of a frame of a clip.
        scanned_pixels: of a progressive JPEG: its pixels times its scans, each of which goes over all of them.
        clip_s: longest clip, in seconds.
        clip_frames: frames of a clip that are looked at, whatever its container announces.
        clip_pixels: of all frames of a clip together; 60 s of 1,920 x 1,080 at 30 frames a second have 3.7e9.
        seconds: until decoding is ended, by the clock; twice as many of the processor.
        memory_bytes: beyond what the decoder's process needs anyway.
    """

    image_side: int = 16_384
    image_pixels: int = 40_000_000
    scanned_pixels: int = 400_000_000
    clip_s: float = 60.0
    clip_frames: int = 4_000
    clip_pixels: int = 4_000_000_000
    seconds: int = 30
    memory_bytes: int = 2**30

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"{name} is {value}: it must be above 0")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What the service allows.

    Attributes:
        port: TCP port; 0 for any free one.
        allow_hosts: further names that it is reached under, such as that of a proxy. With one of them it counts as
            reachable from elsewhere.
        tokens: who may come in; may be empty on loopback only.
        token_file: where the tokens stand; it is read again when it changes.
        proxy: a proxy in front says in X-Forwarded-For whom it asks for; without one, callers could write anything
            there.
        tls: whether it speaks HTTPS itself.
        max_upload_bytes: of all files of one search together.
        max_files: pictures of one search.
        decode: what decoding an upload may cost.
        max_body_bytes: of every other request; a thousand ids fit in.
        receive_s: how long a request's body may take to arrive.
        searches: searches that run at once.
        decodings: uploads that are decoded at once, each in a process of its own.
        embeddings: uploads that are embedded at once.
        waiting: requests that may wait for a slot, of each of the kinds; more are answered with 503.
        session_s: after this the page asks for the token again.
        login_attempts: wrong tokens that an address may send in a minute.
        login_attempts_all: wrong tokens that all may send in a minute.
        stop_s: how long running requests may take once the service was told to stop; then they are cut.

    Raises:
        ConfigError: reachable from elsewhere without a token, or a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    allow_hosts: frozenset[str] = frozenset()
    tokens: tuple[Token, ...] = ()
    token_file: Path | None = None
    proxy: bool = False
    tls: bool = False
    max_upload_bytes: int = 64 * 2**20
    max_files: int = 16
    decode: DecodeLimits = DecodeLimits()
    max_body_bytes: int = 2**20
    receive_s: int = 120
    searches: int = 4
    decodings: int = 2
    embeddings: int = 1
    waiting: int = 200
    session_s: int = 12 * 3600
    login_attempts: int = 10
    login_attempts_all: int = 100
    stop_s: int = 10

    names: frozenset[str] = field(init=False)
    """Host names that requests may carry, without port; see `allows_host`."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}: at least {least} is needed"
            for name, least in (
                ("max_upload_bytes", 1024), ("max_files", 1), ("max_body_bytes", 1024), ("receive_s", 1),
                ("searches", 1), ("decodings", 1), ("embeddings", 1), ("waiting", 0), ("session_s", 60),
                ("login_attempts", 1), ("login_attempts_all", 1), ("stop_s", 0),
            )
            if getattr(self, name) < least
        ]  # fmt: skip
        if not 0 <= self.port < 65_536:
            problems.append(f"port is {self.port}: 0 to 65535 are possible")
        if not self.loopback and not (self.tokens or self.token_file):
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
