"""Alerts by HTTP: a POST to one address, signed."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from typing import Any

from intraclip import __version__
from intraclip.errors import ConfigError
from intraclip.live.senders import NotDeliveredError, address, body_of

TIMEOUT_S = 10.0

LEAST_SECRET = 16
"""Characters of a secret."""


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: alerts go to the address that the user named, and to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Webhook:
    """Posts alerts to an address; see `intraclip.live.senders.Channel`.

    The body is JSON. ``X-Intraclip-Signature`` is ``t=SECONDS,v1=HEX``: HMAC-SHA256 with the secret, over the seconds,
    a full stop, and the body. Whoever receives it compares it, and refuses old seconds. ``X-Intraclip-Id`` is the
    alert's id, the same each time that it is sent.

    Args:
        url: to post to, http or https. Redirects are not followed, and no proxy is asked.
        secret: shared with the receiver.
        with_vector: send the tracklet's vector along.

    Raises:
        ConfigError: no such address, one with a password in it, or a secret that is too short.
    """

    def __init__(self, url: str, secret: str, *, with_vector: bool = False) -> None:
        parts, host, port = address(url)
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError("--webhook wants an address such as https://example.org/alerts")
        if parts.username or parts.password:
            raise ConfigError(
                "--webhook: leave user and password out of the address; the signature says who sends"
            )
        if len(secret) < LEAST_SECRET:
            raise ConfigError(f"the webhook's secret needs at least {LEAST_SECRET} characters")
        # What follows the path may be a key: it is no part of the name.
        self.name = f"webhook {parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
        self._url = url
        self._secret = secret.encode()
        self._with_vector = with_vector
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Nowhere())

    def send(self, message: dict[str, Any], vector: list[float]) -> None:
        """See `Channel`."""
        body = body_of({**message, "vector": vector} if self._with_vector else message)
        seconds = int(time.time())
        request = urllib.request.Request(
            self._url,
            data=body,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"intraclip/{__version__}",
                "X-Intraclip-Id": str(message["id"]),
                "X-Intraclip-Signature": f"t={seconds},v1={signature(self._secret, seconds, body)}",
            },
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            error.close()
            # Such as 400 or 404; a server that is busy, or asks to wait, may take it later.
            hopeless = 300 <= error.code < 500 and error.code not in (408, 425, 429)
            raise NotDeliveredError(f"the webhook answered {error.code}", hopeless=hopeless) from None
        except (OSError, http.client.HTTPException) as error:
            reason = (
                getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
            )
            raise NotDeliveredError(f"the webhook cannot be reached: {reason}") from None

    def close(self) -> None:
        """See `Channel`."""


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """HMAC-SHA256 over the seconds, a full stop and the body, in hexadecimal."""
    return hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()


def is_genuine(header: str, secret: bytes, body: bytes, *, now: float, patience_s: float = 300.0) -> bool:
    """Whether a request came from who has the secret, and lately: for whoever receives it.

    Args:
        header: ``X-Intraclip-Signature``.
        secret: shared with the sender.
        body: of the request, as it came.
        now: Unix seconds.
        patience_s: older requests are refused, as somebody may have recorded them.

    >>> body, secret = b"{}", b"a secret of many letters"
    >>> header = f"t=1000,v1={signature(secret, 1000, body)}"
    >>> is_genuine(header, secret, body, now=1010), is_genuine(header, secret, b"[]", now=1010)
    (True, False)
    """
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    if not parts.get("t", "").isdecimal() or abs(now - int(parts["t"])) > patience_s:
        return False
    return hmac.compare_digest(parts.get("v1", ""), signature(secret, int(parts["t"]), body))
