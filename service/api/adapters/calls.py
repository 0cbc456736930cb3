"""What every adapter does with a body and an image."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from fastapi import Request

from service.api.intake import bounded, in_time, parse_json
from service.api.orders import asked_of, deadline_of, still_open
from service.api.presence import while_connected
from service.api.problems import problems
from service.api.schemas import SegmentQuery
from service.errors import MalformedRequest
from service.gateway import Gateway
from service.request import Render, Reply

_MAX_PARTS: Final = 2**20
"""Objects, lists, and quotes around texts; tasks with thousands of results have fewer.

Numbers are not counted: tasks that were annotated hold millions, the runs of their masks.
"""
CALL_PROBLEMS: Final = problems(400, 404, 408, 413, 415, 422, 502, 503, 504)
"""What a call with images can end with."""


@asynccontextmanager
async def json_body(request: Request, gateway: Gateway) -> AsyncIterator[Any]:
    """Read a body as JSON, within the bounds of `POST /segment`; it counts until the block ends.

    Raises
    ------
    Draining, Overloaded
        If nothing new is taken.
    TooLarge, MalformedRequest, BodyTooSlow, ClientGone
        If it is too large, no JSON, or does not arrive.
    """
    still_open(gateway)
    settings = gateway.settings
    with gateway.gate.body() as arrived:
        async with in_time(settings.receive_s):
            chunks = bounded(request, settings.max_body_bytes, arrived)
            body = b"".join([chunk async for chunk in chunks])
        try:
            parsed = await asyncio.to_thread(parse_json, body, most=_MAX_PARTS, marks=b'[{"')
        except orjson.JSONDecodeError as error:
            raise MalformedRequest("the body is not JSON") from error
        del body  # its text is in `parsed` as well
        yield parsed


async def segment(
    request: Request, gateway: Gateway, data: bytes, query: SegmentQuery, render: Render
) -> Reply:
    """Segment an image as `POST /segment` would, and write it as the tool reads it."""
    asked = asked_of(
        query,
        gateway.settings,
        request_id=request.state.request_id,
        deadline=deadline_of(query, None, gateway),
        headers={},
    )
    return await while_connected(request, gateway.segmenter.segment(data, asked, render))
