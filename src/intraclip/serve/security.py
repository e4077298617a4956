"""Who may come in, from which page, with how much; and what the browser is told. Plain ASGI, outside of all routes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from intraclip.serve.errors import Refused, answer_of, error_response
from intraclip.serve.settings import API, ServeSettings
from intraclip.serve.tokens import LOCAL, Token

if TYPE_CHECKING:
    from intraclip.serve.context import Context

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

OPEN = ("/login", "/static/", "/health/")
"""Paths that ask for no token: they show nothing of the gallery."""

PAGE_HEADER = "x-intraclip"
"""Requests that change something carry it, unless they carry a token: no foreign page can set it without asking."""

UPLOAD = f"{API}/search/upload"

HARMLESS = frozenset({f"{API}/search", UPLOAD, "/logout"})
"""What a read-only token may send beside `SAFE` methods; whatever else changes something is refused."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob:",  # blob: the pictures somebody is about to search with, shown before they are sent
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no text becomes markup, whatever a tracklet is called
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",  # no foreign page can show the pictures
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}


class SecureHeaders:
    """Adds `HEADERS` to every answer; a route's own Cache-Control stays."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class Gate:
    """Lets in requests that name this host, come from its page or a program, and carry a token where one is asked."""

    def __init__(self, app: App, *, context: Context) -> None:
        self._app = app
        self._context = context
        self._settings = context.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here: the server closes it
        try:
            answer = await self._refusal(scope)
        except Refused as refused:
            answer = answer_of(refused)
        await (answer or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if not self._settings.allows_host(headers.get("host", "")):
            raise Refused(
                421,
                "this service does not go by that host name; start it with --allow-host NAME to permit one",
            )
        if is_foreign(headers) and (path.startswith(API) or method not in SAFE):
            raise Refused(403, "the request comes from a page of another site")
        address = address_of(scope, self._settings)
        state = scope.setdefault("state", {})
        state["asker"] = Asker("", address)
        if path.startswith(OPEN):
            return None
        by_token = headers.get("authorization") is not None
        token = await self._token(scope, address)
        if token is None:
            if path == "/" and not by_token:
                return RedirectResponse("/login", status_code=303)
            raise Refused(
                401,
                "a valid token is required: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if method not in SAFE and not by_token and PAGE_HEADER not in headers:
            raise Refused(403, "requests that change something need the header X-Intraclip: 1, or a token")
        if token.read_only and method not in SAFE and path not in HARMLESS:
            raise Refused(403, "this token is read-only: its holder may look and search, and change nothing")
        state["asker"] = Asker(token.name, address, token.read_only)
        return None

    async def _token(self, scope: Scope, address: str) -> Token | None:
        """Whose request it is; None for nobody. A wrong token is nobody even where a session, or none, would do."""
        asking = HTTPConnection(scope)
        header = asking.headers.get("authorization")
        if header is not None:
            kind, _, secret = header.partition(" ")
            return await self._context.admit(secret.strip() if kind.lower() == "bearer" else "", address)
        if not self._context.tokens.required:
            return NOBODY_ASKED
        value = asking.cookies.get(cookie_name(self._settings))
        token = None if value is None else self._context.sessions.token(value)
        return token if token in self._context.valid_tokens() else None


class Asker(NamedTuple):
    """Who asks, and from where.

    Attributes:
        name: of the token's holder, ``local`` where no token is asked for; empty on pages that are open to all.
        address: that the request came from.
        read_only: may change nothing.
    """

    name: str
    address: str
    read_only: bool = False


NOBODY_ASKED = Token(LOCAL, b"")


def address_of(scope: Scope, settings: ServeSettings) -> str:
    """Where a request came from: the last hop that a proxy names, where there is one, else the other end's address."""
    if settings.proxy:
        forwarded = Headers(scope=scope).getlist("x-forwarded-for")
        last = forwarded[-1].rpartition(",")[2].strip() if forwarded else ""
        if last and last.isprintable():
            return last[:64]
    client = scope.get("client")
    return "" if client is None else str(client[0])


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page made the request. Programs say nothing, and pass."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # no page can set it; beside it the Origin may be "null", which says nothing
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin_of(origin)[1] != headers.get("host", "").lower()


def origin_of(text: str) -> tuple[str, str]:
    """Scheme and host of an Origin; empty for what is none."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc.lower()


def cookie_name(settings: ServeSettings) -> str:
    """Browsers keep cookies by host, not by port; two galleries on one machine must not log each other out."""
    return f"intraclip-{settings.port}"


class BodyLimit:
    """Cuts a request off as soon as it is larger than allowed: by what it announces, else while it arrives."""

    def __init__(self, app: App, *, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = scope["path"] == UPLOAD
        most = self._settings.max_upload_bytes if upload else self._settings.max_body_bytes
        text = f"the request is larger than {most / 2**20:.3g} MiB; " + (
            "send fewer or smaller pictures, or a shorter clip" if upload else "send less at once"
        )
        announced = Headers(scope=scope).get("content-length", "0")
        if not (announced.isascii() and announced.isdigit()) or len(announced) > 18 or int(announced) > most:
            # Nothing of the body is read: the server closes the connection behind the answer.
            await error_response(413, text, headers={"Connection": "close"})(scope, receive, send)
            return
        received, complete = 0, False
        until = anyio.current_time() + self._settings.receive_s

        async def counted() -> Message:
            nonlocal received, complete
            # Behind the body comes only the news that the sender has left, which may take its time.
            with anyio.CancelScope(deadline=math.inf if complete else until) as scope:
                message = await receive()
            if scope.cancelled_caught or (not complete and anyio.current_time() > until):
                raise Refused(
                    408,
                    f"the request's body was not here after {self._settings.receive_s} s",
                    headers={"Connection": "close"},
                )
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > most:
                raise Refused(413, text, headers={"Connection": "close"})
            return message

        await self._app(scope, counted, send)
