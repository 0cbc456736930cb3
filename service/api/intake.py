"""From a request to the bytes of its image: three body forms, one byte limit."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator
from typing import Final

import orjson
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.errors import ClientGone, MalformedRequest, TooLarge, UnsupportedFormat

FIELD: Final = "image"
MEDIA_TYPES: Final = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/tiff",
    "image/bmp",
    "image/gif",
    "application/octet-stream",
)
"""Content types of a raw body; what the bytes really are is decided by looking at them."""


async def read_image(request: Request, *, max_bytes: int) -> bytes:
    """Read the image out of a request.

    Parameters
    ----------
    request : Request
        ``multipart/form-data`` with a file in the field ``image``, a raw image, or JSON
        ``{"image": {"base64": …}}``.
    max_bytes : int
        Largest body; refused from its ``Content-Length`` or as soon as it grows beyond.

    Returns
    -------
    bytes
        The image file, not yet looked at.

    Raises
    ------
    TooLarge
        If the body is larger than `max_bytes`.
    UnsupportedFormat
        If the content type is none of those above.
    MalformedRequest
        If the body is not what its content type says, or holds no image.
    ClientGone
        If the client hangs up before the body is complete.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = _bounded(request, max_bytes)
    if kind == "multipart/form-data":
        data = await _from_form(request, body, max_bytes)
    elif kind == "application/json":
        data = _from_json(b"".join([chunk async for chunk in body]))
    elif kind in MEDIA_TYPES or not kind:
        data = b"".join([chunk async for chunk in body])
    else:
        raise UnsupportedFormat(
            f"content type {kind!r} is not supported; send multipart/form-data, application/json "
            f"or one of {', '.join(MEDIA_TYPES)}"
        )
    if not data:
        raise MalformedRequest("the request holds no image: its body is empty")
    return data


async def _bounded(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    too_large = TooLarge(f"the body is larger than {max_bytes} bytes", limit=max_bytes)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes:
                raise too_large
            yield chunk
    except ClientDisconnect as error:
        raise ClientGone("the client hung up while sending its request") from error


async def _from_form(request: Request, body: AsyncGenerator[bytes, None], max_bytes: int) -> bytes:
    if "boundary=" not in request.headers["content-type"]:
        raise MalformedRequest("multipart/form-data needs a boundary in its content type")
    parser = MultiPartParser(request.headers, body, max_files=1, max_fields=8, max_part_size=2**16)
    parser.spool_max_size = max_bytes  # never spills to disk: the body is bounded already
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest(f"the form does not parse: {error.message}") from error
    part = form.get(FIELD)
    if not isinstance(part, UploadFile):
        raise MalformedRequest(f"the form has no file in the field {FIELD!r}")
    with part.file as file:
        return file.read()


def _from_json(body: bytes) -> bytes:
    try:
        encoded = orjson.loads(body)["image"]["base64"]
        return base64.b64decode(encoded, validate=True)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise MalformedRequest('a JSON body must look like {"image": {"base64": "…"}}') from error
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest("image.base64 is not base64") from error
