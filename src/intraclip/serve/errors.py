"""Refusals, in one form: ``{"error": "too_large", "message": "..."}`` with a fitting status."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

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
    """The request cannot be served.

    Args:
        status: HTTP status, one of `CODES`.
        message: what is wrong and what to do.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status_code=status, detail=message, headers=headers)


def error_response(
    status: int, message: str, *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """The answer that a refusal becomes."""
    return JSONResponse(
        {"error": CODES.get(status, "error"), "message": message, **more}, status_code=status, headers=headers
    )
