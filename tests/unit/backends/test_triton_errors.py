"""Every status code of gRPC, sent by a real gRPC server, comes out as an error of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from service.backends.base import CallContext, Model
from service.backends.triton import TritonBackend
from service.backends.triton_errors import ERRORS
from service.domain import Category, Deadline
from service.errors import (
    BackendFailed,
    BackendUnavailable,
    DeadlineExceeded,
    DiscernError,
    ModelNotFound,
)
from service.recipe import Recipe

MODEL = Model(
    "blobs",
    "3",
    Recipe(
        method="discriminative", embedding_size=8, classes=(Category(1, "blob"),), size_multiple=2
    ),
)
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


class Refusing(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """Is live, answers every other call with one status, and keeps what came with it."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code, self.details = code, details
        self.calls: list[tuple[str, dict[str, Any], bytes]] = []

    def service(self, details: Any) -> Any:
        if details.method.endswith("ServerLive"):
            return grpc.unary_unary_rpc_method_handler(is_live)

        async def abort(request: bytes, context: Any) -> bytes:
            metadata = {item.key: item.value for item in details.invocation_metadata}
            self.calls.append((details.method, metadata, request))
            await context.abort(self.code, self.details)
            return b""

        return grpc.unary_unary_rpc_method_handler(abort)


async def is_live(request: bytes, context: Any) -> bytes:
    return bytes(service_pb2.ServerLiveResponse(live=True).SerializeToString())


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Refusing], Any]]:
    """Serve a handler on loopback and open a backend towards it."""
    running: list[Any] = []

    async def start(handler: Refusing) -> TritonBackend:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        backend = TritonBackend([f"127.0.0.1:{port}"], wait_s=2.0)
        await backend.start()
        running.extend([backend.aclose, lambda: server.stop(None)])
        return backend

    yield start
    for stop in running:
        await stop()


def context(**headers: str) -> CallContext:
    return CallContext("request-7", Deadline.after(5.0), headers)


IMAGES = np.zeros((1, 4, 4, 3), np.uint8)


def test_every_status_code_has_its_error() -> None:
    assert set(ERRORS) == set(FAILURES)


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
async def test_a_status_code_becomes_its_error(code: grpc.StatusCode, serve: Any) -> None:
    backend = await serve(Refusing(code, "secret/path: onnxruntime"))
    with pytest.raises(DiscernError) as caught:
        await backend.infer(IMAGES, MODEL, context())
    assert type(caught.value) is ERRORS[code]
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        ("UNAVAILABLE", "[request id: 7] Exceeds maximum queue size", BackendUnavailable),
        ("UNAVAILABLE", "Request timeout expired", DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 8)", BackendFailed),
        ("NOT_FOUND", "Unable to find shared memory region: 'x'", BackendUnavailable),
        ("NOT_FOUND", "Request for unknown model: 'blobs' is not found", ModelNotFound),
    ],
)
async def test_what_triton_writes_tells_cases_apart(
    code: str, details: str, error: type[DiscernError], serve: Any
) -> None:
    backend = await serve(Refusing(grpc.StatusCode[code], details))
    with pytest.raises(error):
        await backend.infer(IMAGES, MODEL, context())


async def test_request_id_trace_and_deadline_travel_with_the_call(serve: Any) -> None:
    handler = Refusing(grpc.StatusCode.INVALID_ARGUMENT, "")
    backend = await serve(handler)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with pytest.raises(BackendFailed):
        await backend.infer(IMAGES, MODEL, context(Traceparent=trace))
    [(_, metadata, data)] = [call for call in handler.calls if call[0].endswith("ModelInfer")]
    request = service_pb2.ModelInferRequest.FromString(data)
    assert metadata["traceparent"] == trace
    assert request.id == "request-7"
    assert 4e6 < request.parameters["timeout"].int64_param <= 5e6


@pytest.mark.parametrize(
    ("code", "details", "calls"),
    [
        ("UNAVAILABLE", "Socket closed", 2),
        ("UNAVAILABLE", "Exceeds maximum queue size", 1),
        ("NOT_FOUND", "Request for unknown model", 1),
        ("INTERNAL", "onnx runtime error", 1),
        ("INVALID_ARGUMENT", "unexpected shape", 1),
    ],
)
async def test_only_what_may_succeed_is_tried_again_and_only_once(
    code: str, details: str, calls: int, serve: Any
) -> None:
    handler = Refusing(grpc.StatusCode[code], details)
    backend = await serve(handler)
    with pytest.raises(DiscernError):
        await backend.infer(IMAGES, MODEL, context())
    assert sum(method.endswith("ModelInfer") for method, _, _ in handler.calls) == calls
