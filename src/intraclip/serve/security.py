"""Who may come in, from which page, with how much; and what the browser is told. Plain ASGI, outside of all routes."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response

from intraclip.serve.errors import Refused, error_response
from intraclip.serve.sessions import Sessions
from intraclip.serve.settings import API, LOCAL, ServeSettings

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
    """Lets requests in that name this host, come from its own page or a program, and carry a token where one is asked.

    Args:
        app: what is behind it; finds the holder's name in ``scope["state"]["actor"]``.
        settings: names and tokens.
        sessions: who is logged in on the page.
    """

    def __init__(self, app: App, *, settings: ServeSettings, sessions: Sessions) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here: the server closes it
        headers = Headers(scope=scope)
        actor = self._actor(headers)
        refusal = self._refusal(scope, headers, actor)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["actor"] = actor or ""
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, actor: str | None) -> Response | None:
        path, method = scope["path"], scope["method"]
        if not self._settings.allows_host(headers.get("host", "")):
            return error_response(
                421,
                "this service does not go by that host name; start it with --allow-host NAME to permit one",
            )
        by_token = headers.get("authorization") is not None
        if is_foreign(headers) and (path.startswith(API) or method not in SAFE):
            return error_response(403, "the request comes from a page of another site")
        open_to_all = path.startswith(OPEN)
        if actor is None and not open_to_all:
            if path == "/" and not by_token:
                return RedirectResponse("/login", status_code=303)
            return error_response(
                401,
                "a valid token is required: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if method not in SAFE and not by_token and not open_to_all and PAGE_HEADER not in headers:
            return error_response(
                403, "requests that change something need the header X-Intraclip: 1, or a token"
            )
        return None

    def _actor(self, headers: Headers) -> str | None:
        """Who it is; None for nobody. A wrong token is nobody even where a session, or none, would do."""
        header = headers.get("authorization")
        if header is not None:
            kind, _, secret = header.partition(" ")
            if kind.lower() != "bearer":
                return None
            return self._settings.holder(secret.strip())
        if not self._settings.tokens:
            return LOCAL
        value = session_of(headers, self._settings)
        return None if value is None else self._sessions.holder(value)


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page made the request. Programs say nothing, and pass."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # no page can set it; beside it the Origin may be "null", which says nothing
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def cookie_name(settings: ServeSettings) -> str:
    """Browsers keep cookies by host, not by port; two galleries on one machine must not log each other out."""
    return f"intraclip-{settings.port}"


def session_of(headers: Headers, settings: ServeSettings) -> str | None:
    """The session's cookie."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    found = cookies.get(cookie_name(settings))
    return None if found is None else found.value


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
        if not announced.isdigit() or int(announced) > most:
            # Nothing of the body is read: the server closes the connection behind the answer.
            await error_response(413, text, headers={"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise Refused(413, text, headers={"Connection": "close"})
            return message

        await self._app(scope, counted, send)


def new_request_id() -> str:
    """A random number for one request, in its answer and in the log."""
    return secrets.token_hex(8)
