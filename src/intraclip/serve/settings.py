"""What the service allows."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from intraclip.core.settings import bounded, require_bounds
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

    image_side: int = bounded(16_384, 1)
    image_pixels: int = bounded(40_000_000, 1)
    scanned_pixels: int = bounded(400_000_000, 1)
    clip_s: float = bounded(60.0, 0, above=True)
    clip_frames: int = bounded(4_000, 1)
    clip_pixels: int = bounded(4_000_000_000, 1)
    seconds: int = bounded(30, 1)
    memory_bytes: int = bounded(2**30, 1)

    def __post_init__(self) -> None:
        require_bounds(self)


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
    port: int = bounded(8000, 0, 65_535)
    allow_hosts: frozenset[str] = frozenset()
    tokens: tuple[Token, ...] = ()
    token_file: Path | None = None
    proxy: bool = False
    tls: bool = False
    max_upload_bytes: int = bounded(64 * 2**20, 1024)
    max_files: int = bounded(16, 1)
    decode: DecodeLimits = DecodeLimits()
    max_body_bytes: int = bounded(2**20, 1024)
    receive_s: int = bounded(120, 1)
    searches: int = bounded(4, 1)
    decodings: int = bounded(2, 1)
    embeddings: int = bounded(1, 1)
    waiting: int = bounded(200, 0)
    session_s: int = bounded(12 * 3600, 60)
    login_attempts: int = bounded(10, 1)
    login_attempts_all: int = bounded(100, 1)
    stop_s: int = bounded(10, 0)

    def __post_init__(self) -> None:
        unsafe = []
        if not self.loopback and not (self.tokens or self.token_file):
            reach = f"host {self.host}" if not is_loopback(self.host) else "a foreign host name is allowed"
            unsafe.append(
                f"{reach}: others could reach the pictures, so a token is required. Write one with "
                f"{TOKEN_REMEDY} and pass --token-file tokens, or stay on 127.0.0.1"
            )
        require_bounds(self, more=unsafe)

    @cached_property
    def names(self) -> frozenset[str]:
        """Host names that requests may carry, without port; see `allows_host`."""
        own = {_bare(self.host), *map(_bare, self.allow_hosts), *LOOPBACK_NAMES}
        if self.loopback:
            return frozenset(own)
        name = socket.gethostname().lower()
        return frozenset({*own, name, f"{name}.local", socket.getfqdn().lower()})

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
