"""``POST /segment``: parse, call the pipeline, serialise."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from service.api.formats import WRITERS, choose_format, timings_ms, write_answer
from service.api.intake import FIELD, MEDIA_TYPES, read_image
from service.api.schemas import ProblemOut, SegmentAnswer, SegmentQuery
from service.api.state import GatewayOf, client_of
from service.domain import Deadline
from service.errors import BadParameter, DeadlineExceeded, Draining
from service.gateway import Gateway
from service.pipeline import Job, Reply, Seen
from service.postprocess.extract import ExtractOptions

router = APIRouter(tags=["segment"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BINARY["schema"]}}
}
_JSON_BODY = {
    "schema": {
        "type": "object",
        "required": [FIELD],
        "properties": {
            FIELD: {
                "type": "object",
                "required": ["base64"],
                "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
            }
        },
    }
}
_PROBLEM: dict[str, Any] = {
    "model": ProblemOut,
    "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
    },
}
_STATUSES = (400, 404, 406, 413, 415, 422, 502, 503, 504)
EMBEDDING_ID = "Embedding-Id"


@router.post(
    "/segment",
    response_model=SegmentAnswer,
    responses=dict.fromkeys(_STATUSES, _PROBLEM),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": _FORM,
                "application/json": _JSON_BODY,
                **dict.fromkeys(MEDIA_TYPES, _BINARY),
            },
        }
    },
)
async def segment(
    request: Request, query: Annotated[SegmentQuery, Query()], gateway: GatewayOf
) -> Response:
    """Find the objects of an image.

    Send the image as `multipart/form-data` (field `image`), as a raw body, or as JSON
    `{"image": {"base64": "…"}}`. With `keep=true` the answer's header `Embedding-Id` names what the
    network saw; `embedding=` that id clusters it again, with other settings and without a body.
    """
    model = query.model or gateway.settings.default_model
    request.state.log["model"] = model if model in gateway.lifecycle.model_names else "unknown"
    try:
        answer, media_type, reply, embedding = await _answer(request, query, gateway, model)
    except DeadlineExceeded as error:
        gateway.metrics.deadline_exceeded.labels(error.stage).inc()
        raise
    request.state.log |= {
        "model": reply.result.model.name,
        "version": reply.result.model.version,
        "image": f"{reply.result.image.width}x{reply.result.image.height}",
        "instances": len(reply.result.segmentation.instances),
    }
    spent = timings_ms(reply.timings)
    headers = {"Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in spent.items())}
    if embedding:
        headers[EMBEDDING_ID] = embedding
    return Response(answer, media_type=media_type, headers=headers)


async def _answer(
    request: Request, query: SegmentQuery, gateway: Gateway, model: str
) -> tuple[bytes, str, Reply, str | None]:
    if gateway.lifecycle.draining:
        raise Draining("this server is shutting down", retry_after_s=1)
    deadline = _deadline(query.timeout_ms, gateway)
    chosen = choose_format(query.format, request.headers.get("accept", ""))
    writer = WRITERS[chosen]
    source = await _source(request, query, gateway)
    job = Job(
        request_id=request.state.request_id,
        deadline=deadline,
        model=model,
        version=query.version,
        options=_options(query, gateway),
        image_id=query.image_id,
        keep=query.keep and query.embedding is None and gateway.embeddings.max_bytes > 0,
        headers=request.state.trace.outgoing(),
    )
    request.state.clock = job.clock
    reply = await gateway.segmenter.segment(source, job, writer.render)
    embedding = query.embedding
    if reply.kept is not None:
        embedding = gateway.embeddings.put(client_of(request), reply.kept)
    return write_answer(reply, writer), writer.media_type, reply, embedding


async def _source(request: Request, query: SegmentQuery, gateway: Gateway) -> bytes | Seen:
    """Return the image of a request, or what the network saw in it before."""
    if query.embedding is None:
        return await read_image(request, max_bytes=gateway.settings.max_body_bytes)
    seen = gateway.embeddings.get(client_of(request), query.embedding)
    for name, asked, held in (
        ("model", query.model, seen.model.name),
        ("version", query.version, seen.model.version),
    ):
        if asked not in (None, held):
            raise BadParameter(f"the embedding is of {name} {held}, not {asked}", parameter=name)
    return seen


def _deadline(timeout_ms: int | None, gateway: Gateway) -> Deadline:
    longest = gateway.settings.max_timeout_ms
    if timeout_ms is not None and timeout_ms > longest:
        raise BadParameter(f"timeout_ms must be at most {longest}", parameter="timeout_ms")
    return Deadline.after((timeout_ms or gateway.settings.timeout_ms) / 1e3)


def _options(query: SegmentQuery, gateway: Gateway) -> ExtractOptions:
    wanted = query.classes
    return ExtractOptions(
        bandwidth=query.bandwidth,
        foreground_threshold=query.foreground_threshold,
        min_area=query.min_area,
        min_score=query.min_score,
        max_instances=min(query.max_instances, gateway.settings.max_instances),
        class_ids=frozenset(int(part) for part in wanted.split(",")) if wanted else None,
    )
