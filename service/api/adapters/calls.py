"""What every adapter does with a body and an image."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson
from fastapi import Request

from service.api.intake import bounded
from service.api.orders import deadline_of, job_of
from service.api.presence import while_connected
from service.api.schemas import SegmentQuery
from service.errors import MalformedRequest
from service.gateway import Gateway
from service.request import Render, Reply


async def read_json(request: Request, gateway: Gateway) -> Any:
    """Read a bounded body as JSON.

    Raises
    ------
    TooLarge, MalformedRequest, ClientGone
        If it is too large, no JSON, or does not arrive.
    """
    with gateway.segmenter.gate.body() as arrived:
        chunks = bounded(request, gateway.settings.max_body_bytes, arrived)
        body = b"".join([chunk async for chunk in chunks])
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest("the body is not JSON") from error


def from_base64(text: object) -> bytes:
    """Return an image that travels as text.

    Raises
    ------
    MalformedRequest
        If it is not base64.
    """
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise MalformedRequest("the image is not base64") from error
    raise MalformedRequest("the body holds no image")


async def segment(
    request: Request, gateway: Gateway, data: bytes, query: SegmentQuery, render: Render
) -> Reply:
    """Segment an image as `POST /segment` would, and write it as the tool reads it."""
    job = job_of(
        query,
        gateway,
        request_id=request.state.request_id,
        deadline=deadline_of(query, None, gateway),
        headers={},
    )
    return await while_connected(request, gateway.segmenter.segment(data, job, render))
