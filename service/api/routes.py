"""``POST /segment``: parse, call the pipeline, serialise."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from service.api.formats import WRITERS, Writer, choose_format, timings_ms, write_answer
from service.api.intake import Arrived
from service.api.jobs import submit_job
from service.api.openapi import ONE_IMAGE, answers, takes
from service.api.orders import (
    asked_of,
    deadline_of,
    plane_of,
    scale_of,
    taken_up,
    wants_job,
    whole_header,
)
from service.api.parameters import described, read_headers, read_query
from service.api.presence import while_connected
from service.api.schemas import JobOut, SegmentQuery
from service.api.state import client_of, gateway_of, intake_of
from service.domain import Deadline
from service.errors import BadParameter, DeadlineExceeded
from service.gateway import Gateway
from service.request import Reply, Result, ScaledImage

router = APIRouter(tags=["segment"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    **answers(400, 401, 404, 406, 408, 413, 415, 422, 429, 502, 503, 504),
    202: {"model": JobOut, "description": "Taken as a job (`Prefer: respond-async`)."},
}
EMBEDDING_ID = "Embedding-Id"


@router.post(
    "/segment",
    response_model=None,
    responses=_ANSWERS,
    openapi_extra={
        "parameters": described(),
        **takes(ONE_IMAGE, required=False),
    },
)
async def segment(request: Request) -> Response:
    """Find the objects of an image.

    Send the image as `multipart/form-data` (field `image`), as a raw body, or as JSON
    `{"image": {"base64": "…"}}`. With `keep=true` the answer's header `Embedding-Id` names what the
    network saw; `embedding=` that id clusters it again, with other settings and without a body.
    With `Prefer: respond-async` it becomes a job, as `POST /jobs` makes one.
    """
    await taken_up(request)
    query, headers, gateway = read_query(request), read_headers(request), gateway_of(request)
    if wants_job(request):
        key = headers.idempotency_key
        job = await submit_job(request, query, gateway, client_of(request), key)
        request.state.headers["Preference-Applied"] = "respond-async"
        return JSONResponse(job.model_dump(mode="json"), status_code=202)
    writer = WRITERS[choose_format(query.format, whole_header(request, "accept"))]
    deadline = deadline_of(query, headers.timeout_s, gateway)
    plane_of(query)  # one page, or it is refused before anything is read
    reply = await _segment(request, query, gateway, deadline, writer)
    request.state.log |= _facts(reply.result)
    spent = timings_ms(reply.timings)
    told = {"Server-Timing": ", ".join(f"{stage};dur={value}" for stage, value in spent.items())}
    embedding = query.embedding
    if reply.kept is not None:
        embedding = gateway.embeddings.put(client_of(request), reply.kept)
    if embedding:
        told[EMBEDDING_ID] = embedding
    return Response(write_answer(reply, writer), media_type=writer.media_type, headers=told)


async def _segment(
    request: Request, query: SegmentQuery, gateway: Gateway, deadline: Deadline, writer: Writer
) -> Reply:
    """Take the body in, then segment it for as long as the client is there."""
    try:
        with gateway.gate.body() as arrived:
            source = await _source(request, query, gateway, deadline, arrived)
            # Its clock begins when the body is there: a slow sender does not queue.
            asked = asked_of(
                query,
                gateway.settings,
                request_id=request.state.request_id,
                deadline=deadline,
                headers=request.state.trace.outgoing(),
            )
            request.state.clock = asked.clock
            work = gateway.segmenter.segment(source, asked, writer.render)
            return await while_connected(request, work)
    except DeadlineExceeded as error:
        gateway.metrics.deadline_exceeded.labels(error.stage).inc()
        raise


def _facts(result: Result) -> dict[str, Any]:
    """Return what the log says of an answer."""
    return {
        "model": result.model.name,
        "version": result.model.version,
        "image": f"{result.image.width}x{result.image.height}",
        "instances": result.segmentation.count,
    }


async def _source(
    request: Request,
    query: SegmentQuery,
    gateway: Gateway,
    deadline: Deadline,
    arrived: Arrived,
) -> bytes | ScaledImage:
    """Return the image of a request, or what the network saw in it before."""
    if query.embedding is None:
        return await intake_of(request).read_image(request, deadline, arrived)
    seen = gateway.embeddings.get(client_of(request), query.embedding)
    for name, asked, held in (
        ("model", query.model, seen.model.name),
        ("version", query.version, seen.model.version),
        ("scale", query.scale and scale_of(query), seen.scale),
        ("page", query.page, seen.image.plane.page),
        ("channel", query.channel, seen.image.plane.channel),
    ):
        if asked not in (None, held):
            raise BadParameter(f"the embedding is of {name} {held}, not {asked}", parameter=name)
    return seen
