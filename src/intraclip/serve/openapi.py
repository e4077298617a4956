"""The API's description: what FastAPI says about the routes, and what the layers around them may answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from intraclip.serve.errors import Refused
from intraclip.serve.schemas import ErrorOut, InvalidOut
from intraclip.serve.security import SAFE

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
