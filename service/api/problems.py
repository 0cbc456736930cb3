"""One table from what went wrong to what the caller reads (RFC 9457 problem details).

Every error of `service.errors` that can reach a caller stands in `PROBLEMS`; a test checks that
none is missing. The text of an error is written for the caller: no traceback, path or message of a
library.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from service import errors

MEDIA_TYPE: Final = "application/problem+json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: its HTTP status, the last part of its type URI, its title."""

    status: int
    code: str
    title: str


PROBLEMS: Final[dict[type[errors.DiscernError], Problem]] = {
    errors.MalformedRequest: Problem(400, "malformed-request", "The request is malformed"),
    errors.Unauthenticated: Problem(401, "unauthenticated", "An API key is needed"),
    errors.Forbidden: Problem(403, "forbidden", "The API key does not allow this"),
    errors.ModelNotFound: Problem(404, "model-not-found", "There is no such model"),
    errors.EmbeddingNotFound: Problem(
        404, "embedding-not-found", "The embedding is not held any more"
    ),
    errors.NotAcceptable: Problem(406, "not-acceptable", "No acceptable answer format"),
    errors.BodyTooSlow: Problem(408, "body-too-slow", "The request took too long to arrive"),
    errors.TooLarge: Problem(413, "too-large", "The image is too large"),
    errors.UnsupportedFormat: Problem(415, "unsupported-format", "Not a supported image format"),
    errors.BrokenImage: Problem(422, "broken-image", "The image does not decode"),
    errors.BadParameter: Problem(422, "bad-parameter", "A parameter is out of bounds"),
    errors.ImageNotFetched: Problem(422, "image-not-fetched", "The image could not be fetched"),
    errors.QuotaExceeded: Problem(429, "quota-exceeded", "The quota is used up"),
    errors.ClientGone: Problem(499, "client-gone", "The client has gone"),
    errors.BackendFailed: Problem(502, "backend-failed", "The inference server failed"),
    errors.BackendUnavailable: Problem(
        503, "backend-unavailable", "The inference server is not there"
    ),
    errors.Overloaded: Problem(503, "overloaded", "The server is overloaded"),
    errors.Draining: Problem(503, "draining", "The server is shutting down"),
    errors.DeadlineExceeded: Problem(504, "deadline-exceeded", "The time is used up"),
}

_BY_STATUS: Final = {
    400: PROBLEMS[errors.MalformedRequest],
    404: Problem(404, "not-found", "There is nothing at this path"),
    405: Problem(405, "method-not-allowed", "The method is not allowed here"),
    413: Problem(413, "too-large", "The request is too large"),
    415: PROBLEMS[errors.UnsupportedFormat],
    422: PROBLEMS[errors.BadParameter],
}
_INTERNAL: Final = Problem(500, "internal-error", "Something went wrong here")


def problem_response(
    problem: Problem,
    detail: str,
    request: Request,
    *,
    headers: dict[str, str] | None = None,
    **extensions: Any,
) -> Response:
    """Write a problem as ``application/problem+json``.

    Parameters
    ----------
    problem : Problem
        Its kind.
    detail : str
        What was wrong this time, and what would be right.
    request : Request
        Gives the request id.
    headers : dict, optional
        Further response headers.
    **extensions
        Further members: ``limit``, ``parameter``, ``stage``, ``retry_after``, ``errors``.
    """
    body = {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": f"urn:discern:request:{request.state.request_id}",
        "code": problem.code,
        "request_id": request.state.request_id,
        **extensions,
    }
    request.state.outcome = problem.code
    return Response(
        orjson.dumps(body), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error that leaves a route a problem document."""
    app.add_exception_handler(errors.DiscernError, _on_discern_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unknown_error)


async def _on_discern_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.DiscernError):
        raise TypeError from error
    problem = PROBLEMS.get(type(error), _INTERNAL)
    if problem.status >= 500:  # the caller gets one sentence, the log gets the cause
        _LOG.warning("%s: %s", problem.code, error.detail, exc_info=error.__cause__)
    extensions = {
        name: value
        for name in ("limit", "parameter", "stage")
        if (value := getattr(error, name, None)) is not None
    }
    headers = dict(getattr(error, "headers", {}))
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        extensions["retry_after"] = seconds = max(1, math.ceil(retry_after_s))
        headers["Retry-After"] = str(seconds)
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return problem_response(problem, error.detail, request, headers=headers, **extensions)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError from error
    found = [
        {"pointer": "/" + "/".join(str(part) for part in item["loc"]), "detail": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['pointer'].rsplit('/', 1)[-1]}: {item['detail']}" for item in found)
    return problem_response(PROBLEMS[errors.BadParameter], detail, request, errors=found)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError from error
    status = error.status_code
    problem = _BY_STATUS.get(status, Problem(status, "http-error", "The request failed"))
    return problem_response(problem, str(error.detail), request, headers=dict(error.headers or {}))


async def _on_unknown_error(request: Request, error: Exception) -> Response:
    _LOG.error("unexpected error", exc_info=error)
    return problem_response(_INTERNAL, "The fault is on this side and has been logged.", request)
