"""Work that is done later: hand it in, ask how far it is, fetch the result."""

from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from service.api.archive import zip_results
from service.api.auth import CallerOf
from service.api.formats import WRITERS, write_answer
from service.api.intake import ZIP, Arrived, content_type, read_zip
from service.api.openapi import ARCHIVE, ONE_IMAGE, answers, takes
from service.api.orders import asked_of, check_for_later, still_open, within_quota
from service.api.problems import MEDIA_TYPE, document, problems
from service.api.schemas import Format, JobOut, SegmentHeaders, SegmentQuery
from service.api.stacks import by_page
from service.api.state import GatewayOf, intake_of, jobs_of
from service.domain import Deadline, Priority
from service.errors import BadParameter, JobHasNoResult
from service.gateway import Gateway
from service.jobs.factory import choose_store
from service.jobs.records import Item, ItemResult, JobStatus, Order
from service.jobs.runner import JobRunner
from service.settings import Settings

router = APIRouter(tags=["jobs"], responses=problems(401, 404, 422, 503))

ONE: Final = "image"
"""Name of the image of a job that was not sent as an archive."""

_POLL_S: Final = 1
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description=SegmentHeaders.model_fields["idempotency_key"].description,
    ),
]


@router.post(
    "/jobs",
    status_code=202,
    dependencies=[Depends(within_quota)],
    responses=problems(400, 408, 413, 415, 429, 502),
    openapi_extra=takes({**ONE_IMAGE, **ARCHIVE}),
)
async def submit(
    request: Request,
    query: Annotated[SegmentQuery, Query()],
    gateway: GatewayOf,
    caller: CallerOf,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """Take an image, or an archive of images (`application/zip`), to segment it later.

    Bodies and parameters are those of `POST /segment`; with `page=all` every page of every file is
    an image of its own, and the result is an archive. The answer comes when the job is on disk;
    `Location` says where to ask for it.
    """
    return await submit_job(request, query, gateway, caller.id, idempotency_key)


@router.get("/jobs/{job_id}")
async def get_job(job_id: str, request: Request, caller: CallerOf) -> JobOut:
    """Say how far a job is."""
    jobs = jobs_of(request)
    store = await jobs.store()
    return _told(request, await jobs.call(store.status, caller.id, job_id))


@router.get(
    "/jobs/{job_id}/result",
    response_model=None,
    responses=answers(409, 413, 415, 500, 502, 504),
)
async def get_result(job_id: str, request: Request, caller: CallerOf) -> Response:
    """Return the answer to a job's image as `POST /segment` would have; of several, an archive.

    What became of one image that failed is its problem.
    """
    jobs = jobs_of(request)
    store = await jobs.store()
    status = await jobs.call(store.status, caller.id, job_id)
    if status.state in {"queued", "running"}:
        raise JobHasNoResult(f"the job is {status.state}: {status.finished} of {status.total} done")
    results = await jobs.call(store.results, caller.id, job_id)
    if not results:
        raise JobHasNoResult("the job was cancelled before anything was done")
    if status.total == 1 and results[0].name == ONE:
        only = results[0]
        return Response(only.body, status_code=only.status, media_type=only.media_type)
    return Response(await asyncio.to_thread(zip_results, results), media_type=ZIP)


@router.delete("/jobs/{job_id}")
async def cancel(job_id: str, request: Request, caller: CallerOf) -> JobOut:
    """Begin nothing further of a job; what is finished can still be fetched."""
    jobs = jobs_of(request)
    store = await jobs.store()
    status = await jobs.call(store.cancel, caller.id, job_id)
    jobs.stop(job_id)
    return _told(request, status)


async def submit_job(
    request: Request, query: SegmentQuery, gateway: Gateway, client: str, key: str | None
) -> JobOut:
    """Keep what a request asks for, and say where to ask for it."""
    still_open(gateway)
    _check_key(key)
    await check_for_later(query, gateway)
    with gateway.gate.body(later=True) as arrived:
        images = await _images(request, gateway.settings, arrived)
        query, images = await by_page(query, images, gateway.settings, arrived)
        parameters = query.model_dump_json(exclude_defaults=True)
        digest = await asyncio.to_thread(_digest, parameters, images)
        jobs = jobs_of(request)
        store = await jobs.store()
        status = await jobs.call(store.submit, Order(client, parameters, images, digest, key))
    jobs.wake()
    return _told(request, status)


async def _images(
    request: Request, settings: Settings, arrived: Arrived
) -> tuple[tuple[str, bytes], ...]:
    if content_type(request) == ZIP:
        return await read_zip(request, settings, arrived)
    deadline = Deadline.after(settings.receive_s)
    return ((ONE, await intake_of(request).read_image(request, deadline, arrived)),)


def make_jobs(gateway: Gateway) -> JobRunner:
    """Return what works jobs off with the pipeline of a gateway."""
    settings = gateway.settings
    return JobRunner(
        choose_store(settings),
        partial(_perform, gateway),
        _excuse,
        runners=settings.job_runners,
        resting=lambda: gateway.lifecycle.refusing or not gateway.lifecycle.started.is_set(),
    )


async def _perform(gateway: Gateway, item: Item) -> ItemResult:
    query = SegmentQuery.model_validate_json(item.query)
    writer = WRITERS[query.format or Format.RLE]
    asked = asked_of(
        query,
        gateway.settings,
        request_id=_request_id(item),
        deadline=Deadline.after(gateway.settings.max_timeout_ms / 1e3),
        headers={},
        priority=Priority.BACKGROUND,
    )
    reply = await gateway.segmenter.segment(item.image, asked, writer.render)
    return ItemResult(item.name, 200, writer.media_type, write_answer(reply, writer))


def _excuse(item: Item, error: Exception) -> ItemResult:
    problem, body = document(error, _request_id(item))
    return ItemResult(item.name, problem.status, MEDIA_TYPE, orjson.dumps(body))


def _request_id(item: Item) -> str:
    return f"{item.job_id}.{item.number}"


def _check_key(key: str | None) -> None:
    if key is not None and not _KEY.fullmatch(key):
        raise BadParameter(
            "Idempotency-Key must be 1 to 255 visible characters", parameter="Idempotency-Key"
        )


def _digest(parameters: str, images: tuple[tuple[str, bytes], ...]) -> str:
    digest = hashlib.sha256(parameters.encode())
    for name, image in images:
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(image).digest())
    return digest.hexdigest()


def _told(request: Request, status: JobStatus) -> JobOut:
    headers: dict[str, Any] = request.state.headers
    path = f"/jobs/{status.id}"
    headers["Location"] = path
    over = status.state not in {"queued", "running"}
    if not over:
        headers["Retry-After"] = str(_POLL_S)
    return JobOut(
        id=status.id,
        status=status.state,
        total=status.total,
        finished=status.finished,
        failed=status.failed,
        created=datetime.fromtimestamp(status.created_s, UTC),
        expires=status.expires_s and datetime.fromtimestamp(status.expires_s, UTC),
        result=f"{path}/result" if over and status.finished else None,
    )
