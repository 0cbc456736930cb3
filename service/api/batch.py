"""``POST /segment/batch``: many images in one request, each answered as soon as it is done."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, TypeVar

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from service.api.accept import weight_of
from service.api.formats import JSON, WRITERS, Writer, write_answer
from service.api.intake import ZIP, Arrived, bounded, content_type, in_time, parse_form, read_zip
from service.api.openapi import ARCHIVE, FILES, takes
from service.api.orders import (
    TimeoutHeader,
    asked_of,
    check_for_later,
    deadline_of,
    scale_of,
    still_open,
    whole_header,
    within_quota,
)
from service.api.problems import document, problems
from service.api.schemas import Format, SegmentQuery
from service.api.stacks import File, by_page
from service.api.state import GatewayOf
from service.domain import Deadline, Priority
from service.errors import (
    BadParameter,
    MalformedRequest,
    OutOfMemory,
    Overloaded,
    UnsupportedFormat,
)
from service.gateway import Gateway
from service.request import Asked, ScaledImage
from service.settings import Settings
from service.together import group_small, look_together

router = APIRouter(tags=["segment"])

LINES: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"
Numbered = tuple[int, File]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is asked of every image of one request."""

    gateway: Gateway
    query: SegmentQuery
    timeout_s: float | None
    request_id: str
    writer: Writer

    def groups(self, files: Sequence[File]) -> list[list[Numbered]]:
        """Put small neighbours together, so that they go through the network in one call."""
        limits = self.gateway.segmenter.limits
        scale = scale_of(self.query)
        if scale is None or self.query.page:  # how much the network will see is not known yet
            return [[numbered] for numbered in enumerate(files)]
        groups = group_small([data for _, data in files], limits, scale=scale)
        return [[(index, files[index]) for index in group] for group in groups]

    async def lines(self, group: Sequence[Numbered]) -> list[tuple[bytes, bool]]:
        """Return the answer to each image or its problem as JSON, and whether it is an answer."""
        deadline = deadline_of(self.query, self.timeout_s, self.gateway)
        asked = [self._asked(index, deadline) for index, _ in group]
        sources: Sequence[bytes | ScaledImage | Exception] = [data for _, (_, data) in group]
        if len(group) > 1:
            sources = await self._look(group, asked)
        return [await self._line(*part) for part in zip(group, sources, asked, strict=True)]

    def _asked(self, index: int, deadline: Deadline) -> Asked:
        return asked_of(
            self.query,
            self.gateway.settings,
            request_id=f"{self.request_id}.{index}",
            deadline=deadline,
            headers={},
            priority=Priority.BACKGROUND,
        )

    async def _look(
        self, group: Sequence[Numbered], asked: Sequence[Asked]
    ) -> Sequence[ScaledImage | Exception]:
        files = [data for _, (_, data) in group]
        look = partial(look_together, self.gateway.segmenter, files, asked)
        try:
            return await _patiently(asked[0].deadline, look)
        except Exception as error:  # noqa: BLE001 - `_line` tells each of its images
            return [error] * len(group)

    async def _line(
        self, numbered: Numbered, source: bytes | ScaledImage | Exception, asked: Asked
    ) -> tuple[bytes, bool]:
        index, (name, _) = numbered
        head = {"index": index, "name": name}
        try:
            answer = await self._answer(source, asked)
        except Exception as error:  # noqa: BLE001 - whatever it was, the other images are answered
            return orjson.dumps({**head, "problem": document(error, asked.request_id)[1]}), False
        return orjson.dumps({**head, "answer": orjson.Fragment(answer)}), True

    async def _answer(self, source: bytes | ScaledImage | Exception, asked: Asked) -> bytes:
        if isinstance(source, Exception):
            raise source
        segment = partial(self.gateway.segmenter.segment, source, asked, self.writer.render)
        reply = await _patiently(asked.deadline, segment)
        return await asyncio.to_thread(write_answer, reply, self.writer)


async def _patiently(deadline: Deadline, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call; while others fill the server, wait for as long as time is left."""
    while True:
        try:
            return await call()
        except (Overloaded, OutOfMemory) as busy:
            if busy.retry_after_s >= deadline.left_s():
                raise
            await asyncio.sleep(busy.retry_after_s)


@router.post(
    "/segment/batch",
    response_class=StreamingResponse,
    dependencies=[Depends(within_quota)],
    responses={
        200: {
            "description": "One line per image, in the order in which they finish: `index`, `name` "
            "and either `answer` or `problem`; the last line counts `images` and `failed`.",
            "content": {key: {"schema": {"type": "string"}} for key in (LINES, EVENTS)},
        },
        **problems(400, 401, 404, 408, 413, 415, 422, 429, 502, 503),
    },
    openapi_extra=takes({**FILES, **ARCHIVE}),
)
async def segment_batch(
    request: Request,
    query: Annotated[SegmentQuery, Query()],
    gateway: GatewayOf,
    timeout_s: TimeoutHeader = None,
) -> StreamingResponse:
    """Find the objects of many images.

    Send them as the files of a form, or as a zip archive (`application/zip`). Answers stream back
    as lines of JSON, or as server-sent events if `Accept` prefers `text/event-stream`. Parameters
    are those of `POST /segment` but `keep` and `embedding`; the format must be one that is JSON.
    With `page=all` every page of every file is an image of its own, and its `name` is NAME/PAGE.
    """
    still_open(gateway)
    writer = WRITERS[query.format or Format.RLE]
    if writer.media_type != JSON:
        raise BadParameter(
            "a batch answers in lines of JSON: choose a JSON format", parameter="format"
        )
    deadline_of(query, timeout_s, gateway)  # its bounds are checked before anything is read
    await check_for_later(query, gateway)
    with ExitStack() as stack:
        arrived = stack.enter_context(gateway.gate.body())
        files = await _read(request, gateway, arrived)
        query, files = await by_page(query, files, gateway.settings, arrived)
        batch = _Batch(gateway, query, timeout_s, request.state.request_id, writer)
        accept = whole_header(request, "accept")
        framed = _event if weight_of(EVENTS, accept) > weight_of(LINES, accept) else _line
        return _Stream(
            _answers(batch, files, framed),
            media_type=EVENTS if framed is _event else LINES,
            headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
            held=stack.pop_all(),
            patience_s=gateway.settings.receive_s,
        )


class _Stream(StreamingResponse):
    """A stream that lets go of what it holds when it ends, even one that never began.

    It ends, too, when its caller has not read on for `patience_s`: what he sent would stay in
    memory for as long as he keeps the connection.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        *,
        media_type: str,
        headers: dict[str, str],
        held: ExitStack,
        patience_s: float,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._held = held
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        # Starlette takes a send that fails for a caller who is gone.
        with self._held, suppress(TimeoutError, ClientDisconnect):
            await super().__call__(scope, receive, send_in_time)


async def _read(request: Request, gateway: Gateway, arrived: Arrived) -> tuple[File, ...]:
    settings = gateway.settings
    kind = content_type(request)
    if kind == ZIP:
        return await read_zip(request, settings, arrived)
    if kind != "multipart/form-data":
        raise UnsupportedFormat(f"a batch is multipart/form-data or {ZIP}, not {kind!r}")
    async with in_time(settings.receive_s):
        return await _from_form(request, settings, arrived)


async def _from_form(request: Request, settings: Settings, arrived: Arrived) -> tuple[File, ...]:
    most = settings.max_job_bytes
    body = bounded(request, most, arrived)
    form = await parse_form(request, body, max_bytes=most, max_files=settings.max_job_images)
    parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    if not parts:
        raise MalformedRequest("the form has no file")
    files = tuple((_text(part.filename or ""), part.file.read()) for part in parts)
    await form.close()
    return files


def _text(name: str) -> str:
    """Return a name as JSON can write it: some charsets of forms spell half a character."""
    return name.encode(errors="replace").decode()


async def _answers(
    batch: _Batch, files: tuple[File, ...], framed: Callable[[str, bytes], bytes]
) -> AsyncIterator[bytes]:
    """Work on a few images at a time, so that single requests still find room."""
    at_once = max(1, batch.gateway.gate.slots // 2)
    todo = iter(await asyncio.to_thread(batch.groups, files))  # it reads every header
    running: set[asyncio.Task[list[tuple[bytes, bool]]]] = set()
    failed = 0
    try:
        while True:
            for group in itertools.islice(todo, at_once - len(running)):
                running.add(asyncio.create_task(batch.lines(group)))
            if not running:
                break
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for line, answered in itertools.chain.from_iterable(task.result() for task in done):
                failed += not answered
                yield framed("image", line)
    finally:
        for task in running:
            task.cancel()
    yield framed("end", orjson.dumps({"images": len(files), "failed": failed}))


def _line(_: str, data: bytes) -> bytes:
    return data + b"\n"


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
