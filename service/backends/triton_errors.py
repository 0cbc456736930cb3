"""Every way a gRPC call can fail, as an error of ours: translated here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc

from service.domain import Deadline
from service.errors import (
    BackendFailed,
    BackendUnavailable,
    DeadlineExceeded,
    DiscernError,
    ModelNotFound,
)

ERRORS: Final[Mapping[grpc.StatusCode, type[DiscernError]]] = {
    grpc.StatusCode.CANCELLED: BackendUnavailable,  # by the server, when it shuts down
    grpc.StatusCode.UNKNOWN: BackendFailed,
    grpc.StatusCode.INVALID_ARGUMENT: BackendFailed,  # we spoke the model's contract wrongly
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: ModelNotFound,
    grpc.StatusCode.ALREADY_EXISTS: BackendFailed,
    grpc.StatusCode.PERMISSION_DENIED: BackendFailed,
    grpc.StatusCode.UNAUTHENTICATED: BackendFailed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: BackendUnavailable,
    grpc.StatusCode.FAILED_PRECONDITION: BackendFailed,
    grpc.StatusCode.ABORTED: BackendUnavailable,
    grpc.StatusCode.OUT_OF_RANGE: BackendFailed,
    grpc.StatusCode.UNIMPLEMENTED: BackendFailed,
    grpc.StatusCode.INTERNAL: BackendFailed,
    grpc.StatusCode.UNAVAILABLE: BackendUnavailable,
    grpc.StatusCode.DATA_LOSS: BackendFailed,
}
"""By status code; every code but OK has its entry."""

# What Triton 2.51 writes; the status code alone does not tell these apart.
_QUEUE_FULL: Final = "Exceeds maximum queue size"
_QUEUE_TIMEOUT: Final = "Request timeout expired"
_UNKNOWN_REGION: Final = "Unable to find shared memory region"
_TOO_LARGE: Final = "larger than max"
_NOT_READY: Final = "is not at ready state"

_FOR_NOW: Final[Mapping[str, str]] = {
    _QUEUE_FULL: "the inference server's queue is full",
    _NOT_READY: "the inference server is loading that model, or has unloaded it",
}
"""What makes a server unavailable although it is there, in its words and in ours."""


def translate(error: Any, deadline: Deadline) -> DiscernError:
    """Return our error for a failed call.

    Parameters
    ----------
    error : grpc.aio.AioRpcError
        What the call raised; its text goes to the log, never to a caller.
    deadline : Deadline
        Of the request.
    """
    code, details = error.code(), error.details() or ""
    kind = ERRORS[code]
    if _UNKNOWN_REGION in details:  # Triton says NOT_FOUND, but it is not the model that is missing
        kind = BackendUnavailable
    if _QUEUE_TIMEOUT in details:
        kind = DeadlineExceeded
    if kind is DeadlineExceeded:
        return DeadlineExceeded(
            f"the network did not answer within {deadline.allowed_s:g} s", stage="inference"
        )
    for_now = next((meaning for words, meaning in _FOR_NOW.items() if words in details), None)
    if for_now is not None:
        return BackendUnavailable(for_now)
    if _TOO_LARGE in details:
        return BackendFailed("the tensors are larger than the inference server takes")
    if kind is ModelNotFound:
        return ModelNotFound("the inference server does not have that model or version")
    if kind is BackendUnavailable:
        return BackendUnavailable("the inference server is not available")
    return BackendFailed(f"the inference server answered with an error ({code.name})")


def is_refusal(error: Any) -> bool:
    """Return whether the server took the request and refused it unrun, for want of room or time."""
    details = error.details() or ""
    return _QUEUE_FULL in details or _QUEUE_TIMEOUT in details


def is_not_ready(error: Any) -> bool:
    """Return whether the server is loading the model or has unloaded it: it may soon be unknown."""
    return isinstance(error, grpc.aio.AioRpcError) and _NOT_READY in (error.details() or "")


def is_settled(error: Any) -> bool:
    """Return whether the server has surely let go of the request, shared memory and all."""
    settled = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    return is_refusal(error) or is_unknown_region(error) or error.code() in settled


def is_unknown_region(error: Any) -> bool:
    """Return whether the server does not know a shared memory region: it has been restarted."""
    return _UNKNOWN_REGION in (error.details() or "")


def is_worth_another_server(error: Any) -> bool:
    """Return whether another server may well answer what this one did not."""
    return (
        ERRORS[error.code()] in (BackendUnavailable, ModelNotFound)
        and _TOO_LARGE not in (error.details() or "")
        and _QUEUE_TIMEOUT not in (error.details() or "")
    )


def is_worth_same_server(error: Any) -> bool:
    """Return whether the same server may answer after a reconnection."""
    return (
        is_worth_another_server(error)
        and ERRORS[error.code()] is BackendUnavailable
        and not is_refusal(error)
    )
