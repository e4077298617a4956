"""Refusals, in one form: ``{"error": "too_large", "message": "..."}`` with a fitting status."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from intraclip.errors import ConfigError, DamagedError, DataError, IntraclipError, OutputError

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    422: "invalid",
    429: "too_many_attempts",
    499: "sender_left",
    500: "internal_error",
    503: "unavailable",
}


class Refused(HTTPException):
    """The request cannot be served."""

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status_code=status, detail=message, headers=headers)


def error_response(
    status: int, message: str, *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """The answer that a refusal becomes."""
    return JSONResponse(
        {"error": CODES.get(status, "error"), "message": message, **more}, status_code=status, headers=headers
    )


def answer_of(error: HTTPException, **headers: str) -> JSONResponse:
    """The answer that an exception becomes, with more headers than its own."""
    return error_response(error.status_code, str(error.detail), headers={**(error.headers or {}), **headers})


def refusal_of(error: IntraclipError, address: str) -> Refused:
    """What an error of the gallery at an address becomes: its own words, without the place where it lies."""
    message = str(error).replace(f"gallery {address}", "gallery").replace(address, "the gallery")
    if isinstance(error, OutputError):
        return Refused(503, message, headers={"Retry-After": "5"})
    status = (
        400 if isinstance(error, ConfigError | DataError) and not isinstance(error, DamagedError) else 500
    )
    return Refused(status, message)
