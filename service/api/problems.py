"""One table from what went wrong to what the caller reads (RFC 9457 problem details).

Every error of `service.errors` that can reach a caller stands in `PROBLEMS`; a test checks that
none is missing. The text of an error is written for the caller: no traceback, path or message of a
library.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.api.schemas import ProblemOut
from service.memory import was_short

MEDIA_TYPE: Final = "application/problem+json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: HTTP status, last part of its type URI, title, what the caller can do."""

    status: int
    code: str
    title: str
    remedy: str


PROBLEMS: Final[dict[type[errors.DiscernError], Problem]] = {
    errors.MalformedRequest: Problem(
        400, "malformed-request", "The request is malformed",
        "Send what the content type promises: a file, a form with a file in the field `image`, "
        "or JSON with `image.base64`.",
    ),
    errors.Unauthenticated: Problem(
        401, "unauthenticated", "An API key is needed",
        "Send a key that this server knows, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
    ),
    errors.Forbidden: Problem(
        403, "forbidden", "The API key does not allow this",
        "Use a key with the right that `detail` names.",
    ),
    errors.ModelNotFound: Problem(
        404, "model-not-found", "There is no such model", "`GET /models` lists what there is.",
    ),
    errors.EmbeddingNotFound: Problem(
        404, "embedding-not-found", "The embedding is not held any more",
        "Send the image again with `keep=true`.",
    ),
    errors.JobNotFound: Problem(
        404, "job-not-found", "There is no such job",
        "Jobs are forgotten some time after they end, and are seen only by who sent them.",
    ),
    errors.NotAcceptable: Problem(
        406, "not-acceptable", "No acceptable answer format",
        "Name a media type in `Accept` that the wanted `format` has; `GET /limits` lists formats.",
    ),
    errors.BodyTooSlow: Problem(
        408, "body-too-slow", "The request took too long to arrive",
        "Send the body faster, or compress the image more.",
    ),
    errors.JobHasNoResult: Problem(
        409, "job-has-no-result", "The job has no result",
        "Ask for its state first; a cancelled job never gets a result.",
    ),
    errors.TooLarge: Problem(
        413, "too-large", "The image is too large",
        "`limit` is the bound, in the unit that `detail` names; `GET /limits` lists all of them.",
    ),
    errors.UnsupportedFormat: Problem(
        415, "unsupported-format", "Not a supported image format",
        "Send one of the formats that `GET /limits` lists.",
    ),
    errors.BrokenImage: Problem(
        422, "broken-image", "The image does not decode",
        "The file is truncated or damaged; write it again.",
    ),
    errors.BadParameter: Problem(
        422, "bad-parameter", "A parameter is out of bounds",
        "`errors` or `parameter` says which; the API reference has every bound.",
    ),
    errors.IdempotencyKeyReused: Problem(
        422, "idempotency-key-reused", "The key stands for another request",
        "Choose a new `Idempotency-Key` for every new request.",
    ),
    errors.ImageNotFetched: Problem(
        422, "image-not-fetched", "The image could not be fetched",
        "Send the image itself, or an address on a host that this server is allowed to ask.",
    ),
    errors.QuotaExceeded: Problem(
        429, "quota-exceeded", "The quota is used up",
        "Wait for the seconds in `Retry-After`; `RateLimit` in every answer says what is left.",
    ),
    errors.ClientGone: Problem(
        499, "client-gone", "The client has gone", "Seen in logs only: nobody is there to read it.",
    ),
    errors.JobAbandoned: Problem(
        500, "job-abandoned", "The job could not be finished",
        "The server ended several times while working on this image. Send it alone, and report it.",
    ),
    errors.BackendFailed: Problem(
        502, "backend-failed", "The inference server failed",
        "Try once more; if it fails again, report the request id.",
    ),
    errors.BackendUnavailable: Problem(
        503, "backend-unavailable", "The inference server is not there",
        "Wait for the seconds in `Retry-After` and try again.",
    ),
    errors.JobsUnavailable: Problem(
        503, "jobs-unavailable", "No jobs are taken now",
        "Wait for the seconds in `Retry-After`, or send images one by one to `/segment`.",
    ),
    errors.Overloaded: Problem(
        503, "overloaded", "The server is overloaded",
        "Wait for the seconds in `Retry-After`: they follow from how fast it works now.",
    ),
    errors.OutOfMemory: Problem(
        503, "out-of-memory", "Not enough memory for this image now",
        "Wait for the seconds in `Retry-After` and try again; if it keeps failing, send a smaller "
        "image, or several requests one after the other.",
    ),
    errors.Draining: Problem(
        503, "draining", "The server is shutting down",
        "Try again at once: another one will answer.",
    ),
    errors.DeadlineExceeded: Problem(
        504, "deadline-exceeded", "The time is used up",
        "`stage` says where the time went. Allow more with `timeout_ms`, send a smaller image, or "
        "send a job.",
    ),
}  # fmt: skip

_BY_STATUS: Final = {
    400: PROBLEMS[errors.MalformedRequest],
    404: Problem(
        404, "not-found", "There is nothing at this path", "`/docs` lists every path.",
    ),
    405: Problem(
        405, "method-not-allowed", "The method is not allowed here", "`Allow` names what is.",
    ),
    413: PROBLEMS[errors.TooLarge],
    415: PROBLEMS[errors.UnsupportedFormat],
    422: PROBLEMS[errors.BadParameter],
}  # fmt: skip
_INTERNAL: Final = Problem(
    500, "internal-error", "Something went wrong here",
    "The cause has been logged under the request id; report that.",
)  # fmt: skip

BY_CODE: Final = {
    problem.code: problem for problem in (*PROBLEMS.values(), *_BY_STATUS.values(), _INTERNAL)
}


def document(error: Exception, request_id: str) -> tuple[Problem, dict[str, Any]]:
    """Return the kind of an error, and its problem document."""
    named = {"fields": {"request_id": request_id}}  # what a caller reports is what one looks for
    if was_short(error):  # met where nothing large was thought of: a body, an answer
        cause, error = error, errors.OutOfMemory()
        error.__cause__ = cause
    if not isinstance(error, errors.DiscernError):
        _LOG.error("unexpected error", exc_info=error, extra=named)
        return _INTERNAL, _document(
            _INTERNAL, "The fault is on this side and has been logged.", request_id
        )
    problem = PROBLEMS.get(type(error), _INTERNAL)
    if problem.status >= 500:  # the caller gets one sentence, the log gets the cause
        _LOG.warning("%s: %s", problem.code, error.detail, exc_info=error.__cause__, extra=named)
    extensions = {
        name: value
        for name in ("limit", "parameter", "stage")
        if (value := getattr(error, name, None)) is not None
    }
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        extensions["retry_after"] = max(1, math.ceil(retry_after_s))
    return problem, _document(problem, error.detail, request_id, **extensions)


def _document(problem: Problem, detail: str, request_id: str, **extensions: Any) -> dict[str, Any]:
    return {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": f"urn:discern:request:{request_id}",
        "code": problem.code,
        "request_id": request_id,
        **extensions,
    }


def _response(
    request: Request, body: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    request.state.outcome = body["code"]
    if request.scope["path"].startswith(
        "/v2/"
    ):  # the Open Inference Protocol has a form of its own
        error = orjson.dumps({"error": body["detail"]})
        return Response(error, body["status"], headers, media_type="application/json")
    return Response(
        orjson.dumps(body), status_code=body["status"], media_type=MEDIA_TYPE, headers=headers
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a route documents the problems that it can answer with."""
    schema = {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
    return {status: {"model": ProblemOut, "content": {MEDIA_TYPE: schema}} for status in statuses}


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error that leaves a route a problem document; before any middleware is added."""
    for kind in (errors.DiscernError, MemoryError, cv2.error):
        app.add_exception_handler(kind, _on_discern_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(_UnknownErrors)


async def _on_discern_error(request: Request, error: Exception) -> Response:
    _, body = document(error, request.state.request_id)
    headers = dict(getattr(error, "headers", {}))
    if "retry_after" in body:
        headers["Retry-After"] = str(body["retry_after"])
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return _response(request, body, headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError from error
    found = [
        {"pointer": "/" + "/".join(str(part) for part in item["loc"]), "detail": item["msg"]}
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['pointer'].rsplit('/', 1)[-1]}: {item['detail']}" for item in found)
    problem = PROBLEMS[errors.BadParameter]
    return _response(request, _document(problem, detail, request.state.request_id, errors=found))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError from error
    problem = _BY_STATUS.get(error.status_code, PROBLEMS[errors.MalformedRequest])
    body = _document(problem, str(error.detail), request.state.request_id)
    headers = dict(error.headers or {})
    if error.status_code == 405 and (allowed := _allowed(request)):
        headers["Allow"] = ", ".join(allowed)
    return _response(request, body, headers)


def _allowed(request: Request) -> list[str]:
    """Return the methods of every route at a path; Starlette names those of the first alone."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    # A mount that was on the way has added its own path to the root's.
    root = request.scope.get("app_root_path", request.scope["root_path"])
    scope = {**request.scope, "root_path": root}
    return [
        method
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]


class _UnknownErrors:
    """Answer what no handler knows.

    Starlette runs a handler of `Exception` outside of all middleware: its answer would lack the
    headers that every other has.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def send_and_note(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            if began or scope["type"] != "http":  # too late for another answer: break off
                raise
            request = Request(scope)
            answer = _response(request, document(error, request.state.request_id)[1])
            await answer(scope, receive, send)
