"""`create_app`: the parts put together, and the API's description: what FastAPI and the layers around it may answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Route

from intraclip import __version__
from intraclip.errors import IntraclipError
from intraclip.gallery.gallery import Gallery
from intraclip.serve.context import Context
from intraclip.serve.errors import Refused, answer_of, error_response, refusal_of
from intraclip.serve.routes import about, alerts, labels, page, questions, search, tracklets
from intraclip.serve.schemas import ErrorOut, InvalidOut
from intraclip.serve.security import SAFE, BodyLimit, Gate, SecureHeaders
from intraclip.serve.settings import API, ServeSettings
from intraclip.serve.telemetry import LOGGER, Telemetry

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.live.live import Live

ROUTERS = (
    *(part.router for part in (tracklets, search, labels, questions, alerts)),
    tracklets.deletions,
    about.router,
    about.health,
    page.router,
)

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": InvalidOut if status == 422 else ErrorOut, "description": description}
    for status, description in {
        400: "The request cannot be read.",
        401: "No valid token.",
        403: "Another site's page, the header is missing, or the token is read-only.",
        404: "Not there, or not there any more.",
        408: "The request's body took too long to arrive.",
        413: "Larger than allowed.",
        421: "Not a host name of this service.",
        422: "A value is wrong; which, and why.",
        429: "Too many wrong tokens; Retry-After says for how long.",
        500: "Something is wrong here; the log says more.",
        503: "Too much at once, a full disk, or about to stop; try again later.",
    }.items()
}
"""What every route may answer beside its own."""


def create_app(
    gallery: Gallery,
    settings: ServeSettings | None = None,
    *,
    embedder: Network | None = None,
    live: Live | None = None,
) -> FastAPI:
    """The service of a gallery.

    Args:
        gallery: is used, not closed; other processes may change it meanwhile.
        settings: what is allowed; by default for this machine alone.
        embedder: the gallery's network, which makes queries of uploads; without it they are refused with a reason.
        live: the cameras that fill the gallery meanwhile, if this process watches any.
    """
    settings = settings or ServeSettings()
    if embedder is not None:
        gallery.require_fingerprint(embedder.fingerprint)
    context = Context(gallery, settings, embedder, live)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        LOGGER.info("started", extra={"fields": {"version": __version__, "uploads": embedder is not None}})
        yield
        context.decoders.close()
        LOGGER.info("stopped")

    app = FastAPI(
        title="intraclip",
        description="Find the same person across cameras in a gallery of tracklets.",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # the usual viewers load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=RESPONSES,
    )
    app.state.context = context
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(known_only)] if router.prefix == API else [])
    document = openapi_of(app)
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(IntraclipError, _explained)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Gate, context=context)
    app.add_middleware(Telemetry, metrics=context.metrics)
    app.add_middleware(SecureHeaders)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return answer_of(error, Allow=", ".join(sorted(_methods(request))))
    if isinstance(error.__cause__, OSError):  # FastAPI says 400 to whatever goes wrong while it reads a body
        return error_response(503, f"an upload cannot be taken now: {error.__cause__.strerror}")
    return answer_of(error)


def _methods(request: Request) -> set[str]:
    """All that the path knows; Starlette names those of one route alone."""
    return {
        method
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, Route) and route.path_regex.match(request.scope["path"])
        for method in route.methods or ()
    }


async def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong and where; the values themselves are not repeated."""
    assert isinstance(error, RequestValidationError)
    problems = [{"where": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()]
    told = "; ".join(f"{p['where']}: {p['problem']}" for p in problems[:5])
    return error_response(422, told, problems=problems)


async def _explained(request: Request, error: Exception) -> Response:
    assert isinstance(error, IntraclipError)
    context: Context = request.app.state.context
    return answer_of(refusal_of(error, context.gallery.info.address))


def known_only(request: Request) -> None:
    """Refuse parameters that a route does not know: a misspelt one would silently not count.

    Raises:
        Refused: there is one (422).
    """
    operation = (
        request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower(), {})
    )
    known = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        told = f"known are {', '.join(sorted(known))}" if known else "there are none"
        raise Refused(422, f"{', '.join(name[:40] for name in unknown[:5])}: no such parameter; {told}")


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The description of an app whose routes are all there."""
    document: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path in document["paths"].values():
        for method, operation in path.items():
            for status, answer in operation["responses"].items():
                if not status.startswith("2"):
                    # FastAPI gives refusals the media type of the answer, a picture's too
                    (model,) = answer["content"].values()
                    answer["content"] = {"application/json": model}
            if method.upper() not in SAFE:
                operation.setdefault("parameters", []).append(
                    {
                        "name": "X-Intraclip",
                        "in": "header",
                        "required": False,
                        "schema": {"type": "string"},
                        "description": "Any value; needed without a token.",
                    }
                )
    return document
