"""`create_app`: the parts put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from intraclip import __version__
from intraclip.errors import IntraclipError
from intraclip.gallery.gallery import Gallery
from intraclip.serve.context import Context
from intraclip.serve.errors import error_response, refusal_of
from intraclip.serve.routes import about, deletions, labels, page, search, tracklets
from intraclip.serve.schemas import ErrorOut
from intraclip.serve.security import BodyLimit, Gate, SecureHeaders
from intraclip.serve.sessions import Sessions
from intraclip.serve.settings import API, ServeSettings
from intraclip.serve.telemetry import LOGGER, Metrics, Telemetry
from intraclip.serve.uploads import Embedder


def create_app(
    gallery: Gallery, settings: ServeSettings | None = None, *, embedder: Embedder | None = None
) -> FastAPI:
    """The service of a gallery.

    Args:
        gallery: is used, not closed; other processes may change it meanwhile.
        settings: what is allowed; by default for this machine alone.
        embedder: makes queries of uploads; without it they are refused with a reason.

    Raises:
        DataError: the embedder is another model than the gallery's.
    """
    settings = settings or ServeSettings()
    if embedder is not None:
        gallery.require_fingerprint(embedder.fingerprint)
    context = Context(
        gallery=gallery,
        settings=settings,
        embedder=embedder,
        sessions=Sessions(settings.session_s),
        metrics=Metrics(),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        LOGGER.info("started", extra={"fields": {"version": __version__, "uploads": embedder is not None}})
        yield
        LOGGER.info("stopped")

    app = FastAPI(
        title="intraclip",
        description="Find the same person across cameras in a gallery of tracklets.",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # the usual viewers load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={"4XX": {"model": ErrorOut, "description": "Refused, with a reason."}},
    )
    app.state.context = context
    for part in (tracklets, search, labels, deletions, about):
        app.include_router(part.router)
    app.include_router(about.health)
    app.include_router(page.router)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(IntraclipError, _explained)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Gate, settings=settings, sessions=context.sessions)
    app.add_middleware(Telemetry, metrics=context.metrics)
    app.add_middleware(SecureHeaders)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, str(error.detail), headers=dict(error.headers or {}))


async def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong and where; the values themselves are not repeated."""
    assert isinstance(error, RequestValidationError)
    problems = [{"where": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()]
    told = "; ".join(f"{p['where']}: {p['problem']}" for p in problems[:5])
    return error_response(422, told, problems=problems)


async def _explained(request: Request, error: Exception) -> Response:
    assert isinstance(error, IntraclipError)
    context: Context = request.app.state.context
    refused = refusal_of(error, context.gallery.info.address)
    return error_response(refused.status_code, refused.detail, headers=dict(refused.headers or {}))
