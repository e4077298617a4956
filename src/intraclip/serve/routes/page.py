"""The page: one document, its style and scripts, and the login. Everything is read at the start, nothing by request."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import DictLoader, Environment

from intraclip import __version__
from intraclip.serve.context import Actor, Served
from intraclip.serve.errors import Refused
from intraclip.serve.security import Asker, cookie_name, origin_of

router = APIRouter(include_in_schema=False)

_FOLDER = files("intraclip.serve") / "page"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

ASSETS: dict[str, tuple[bytes, str]] = {
    entry.name: (entry.read_bytes(), _TYPES[suffix])
    for entry in _FOLDER.iterdir()
    if (suffix := "." + entry.name.rpartition(".")[2]) in _TYPES
}
"""Name -> bytes and media type of all there is under ``/static/``: a name that is not a key leads nowhere."""

_TEMPLATES = Environment(
    loader=DictLoader(
        {n: (_FOLDER / n).read_text(encoding="utf-8") for n in ("index.html.j2", "login.html.j2")}
    ),
    autoescape=True,
    trim_blocks=True,
)
MAX_SECRET = 1024


@router.get("/", response_class=HTMLResponse)
async def index(served: Served, actor: Actor) -> HTMLResponse:
    """The page."""
    template = _TEMPLATES.get_template("index.html.j2")
    return HTMLResponse(
        template.render(version=__version__, log_out=served.tokens.required, actor=actor.name)
    )


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """Style and scripts."""
    if name not in ASSETS:
        raise Refused(404, "there is no such file")
    content, kind = ASSETS[name]
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


@router.get("/login", response_class=HTMLResponse)
async def login_form(served: Served) -> Response:
    """Asks for the token."""
    if not served.tokens.required:
        return RedirectResponse("/", status_code=303)
    return _login_page()


@router.post("/login", response_class=HTMLResponse)
async def login(
    request: Request, served: Served, token: Annotated[str, Form(max_length=MAX_SECRET)] = ""
) -> Response:
    """Exchanges a token for a session."""
    asker: Asker = request.state.asker
    try:
        found = await served.admit(token.strip(), asker.address)
    except Refused as refused:
        page = _login_page(str(refused.detail), refused.status_code)
        page.headers.update(refused.headers or {})
        return page
    if found is None:
        return _login_page("That token is not valid.", 401)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        cookie_name(served.settings),
        served.sessions.begin(found),
        max_age=served.settings.session_s,
        httponly=True,
        samesite="strict",
        # A proxy in front may speak HTTPS where this service does not: the browser knows.
        secure=served.settings.tls or origin_of(request.headers.get("origin", ""))[0] == "https",
    )
    return answer


@router.post("/logout")
async def logout(request: Request, served: Served) -> Response:
    """Ends the session."""
    value = request.cookies.get(cookie_name(served.settings))
    if value is not None:
        served.sessions.end(value)
    answer = Response(status_code=204)
    answer.delete_cookie(cookie_name(served.settings))
    return answer


def _login_page(problem: str = "", status: int = 200) -> HTMLResponse:
    page = _TEMPLATES.get_template("login.html.j2").render(problem=problem)
    # Under "no-referrer" browsers send a form with the Origin "null"; `login` and `is_foreign` want to know it.
    return HTMLResponse(page, status_code=status, headers={"Referrer-Policy": "same-origin"})
