"""From a request to the bytes of its image: three body forms, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.api.archive import Archive
from service.api.schemas import SegmentQuery
from service.domain import Deadline
from service.errors import (
    BadParameter,
    BodyTooSlow,
    ClientGone,
    ImageNotFetched,
    MalformedRequest,
    TooLarge,
    UnsupportedFormat,
)
from service.settings import Settings

FIELD: Final = "image"
ZIP: Final = "application/zip"
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

_MAX_PARTS: Final = 2**16
"""Far more than a JSON body needs that holds one image."""
_PIECE: Final = 2**20

Arrived = Callable[[int], None]
"""Is told the size of every piece that arrives, and may refuse (`service.workers.Gate.body`)."""

Fetch = Callable[[str, Deadline, Arrived], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Intake:
    """How a body is taken in.

    Parameters
    ----------
    max_bytes : int
        Largest body; refused from its ``Content-Length`` or as soon as it grows beyond.
    seconds : float
        Longest time it may take to arrive.
    fetch : callable, optional
        Gets an image from an address; None where that is switched off.
    """

    max_bytes: int
    seconds: float
    fetch: Fetch | None = None

    async def read_image(self, request: Request, deadline: Deadline, arrived: Arrived) -> bytes:
        """Read the image out of a request.

        Parameters
        ----------
        request : Request
            ``multipart/form-data`` with a file in the field ``image``, a raw image, or JSON
            ``{"image": {"base64": …}}``, or with ``url`` instead where that is switched on.
        deadline : Deadline
            When the answer stops being of use.
        arrived : callable
            Is told the size of every piece that arrives, and may refuse.

        Returns
        -------
        bytes
            The image file, not yet looked at.

        Raises
        ------
        TooLarge
            If the body is larger than `max_bytes`.
        UnsupportedFormat
            If the content type or encoding is none that is understood.
        MalformedRequest
            If the body is not what its content type says, or holds no image.
        BadParameter
            If a parameter of the query stands in the body.
        BodyTooSlow
            If it does not arrive in time.
        ClientGone
            If the client hangs up before the body is complete.
        ImageNotFetched
            If an address is given, and does not yield the image.
        """
        kind = content_type(request)
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedFormat("a compressed body is not supported; images are compressed")
        if kind not in {"multipart/form-data", "application/json", "", *MEDIA_TYPES}:
            raise UnsupportedFormat(
                f"content type {kind!r} is not supported; send multipart/form-data, "
                f"application/json or one of {', '.join(MEDIA_TYPES)}"
            )
        body = bounded(request, self.max_bytes, arrived)
        async with in_time(min(self.seconds, deadline.left_s())):
            if kind == "multipart/form-data":
                data = await _from_form(request, body, self.max_bytes)
            else:
                data = b"".join([chunk async for chunk in body])
        if kind == "application/json":
            data = await self._from_json(data, deadline, arrived)
        if not data:
            raise MalformedRequest("the request holds no image: its body is empty")
        return data

    async def _from_json(self, body: bytes, deadline: Deadline, arrived: Arrived) -> bytes:
        # On a thread: megabytes of base64 would keep everyone else waiting.
        image = await asyncio.to_thread(_parse_json, body)
        if isinstance(image, bytes):
            return image
        if self.fetch is None:
            raise ImageNotFetched("this server fetches no images: send the image itself")
        return await self.fetch(image, deadline, arrived)


async def read_zip(
    request: Request, settings: Settings, arrived: Arrived
) -> tuple[tuple[str, bytes], ...]:
    """Read the images of a batch or a job out of a body that is a zip archive.

    While it arrives the archive counts, then what will come out of it, before it does: counted
    together, an archive of more than half of the memory set aside could never be taken.

    Raises
    ------
    TooLarge, MalformedRequest, BodyTooSlow, ClientGone
        As `Intake.read_image` does.
    """
    async with in_time(settings.receive_s):
        body = bounded(request, settings.max_job_bytes, arrived)
        data = b"".join([chunk async for chunk in body])
    archive = await asyncio.to_thread(
        Archive, data, max_bytes=settings.max_job_bytes, max_files=settings.max_job_images
    )
    arrived(archive.unpacked_bytes - len(data))  # `data` goes with this frame
    return await asyncio.to_thread(archive.images)


def content_type(request: Request) -> str:
    """Return the media type of a request's body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def in_time(seconds: float) -> AsyncIterator[None]:
    """Give a body this long to arrive.

    Raises
    ------
    BodyTooSlow
        If the ``with`` block takes longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise BodyTooSlow(f"the body did not arrive within {seconds:g} s") from error


async def bounded(
    request: Request, max_bytes: int, arrived: Arrived
) -> AsyncGenerator[bytes, None]:
    """Yield a request's body piece by piece, up to `max_bytes`.

    Raises
    ------
    TooLarge
        If there is more of it.
    ClientGone
        If the client hangs up before its end.
    """
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
            arrived(len(chunk))
            yield chunk
    except ClientDisconnect as error:
        raise ClientGone("the client hung up while sending its request") from error


async def parse_form(
    request: Request, body: AsyncGenerator[bytes, None], *, max_bytes: int, max_files: int
) -> FormData:
    """Parse a form of at most `max_bytes`, in memory.

    Raises
    ------
    MalformedRequest
        If it is none.
    BadParameter
        If a parameter of the query stands in it.
    """
    parser = MultiPartParser(
        request.headers, body, max_files=max_files, max_fields=8, max_part_size=2**16
    )
    parser.spool_max_size = max_bytes + 1  # never spills to disk: the body is bounded already
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest(f"the form does not parse: {error.message}") from error
    except (LookupError, UnicodeError) as error:  # the names of its parts are text
        raise MalformedRequest(
            "the form's charset does not fit; leave it out, or say utf-8"
        ) from error
    try:
        _check_beside_image(name for name, part in form.multi_items() if isinstance(part, str))
    except BadParameter:
        await form.close()
        raise
    return form


def _check_beside_image(names: Iterable[str]) -> None:
    """Refuse parameters where nobody reads them: the answer would be to another question."""
    for name in names:
        if name in SegmentQuery.model_fields:
            raise BadParameter(f"{name} stands in the body; it goes into the query", parameter=name)


async def _from_form(request: Request, body: AsyncGenerator[bytes, None], max_bytes: int) -> bytes:
    form = await parse_form(request, body, max_bytes=max_bytes, max_files=1)
    part = form.get(FIELD)
    if not isinstance(part, UploadFile):
        raise MalformedRequest(f"the form has no file in the field {FIELD!r}")
    with part.file as file:
        return file.read()


def from_base64(text: str) -> bytes:
    """Return an image that travels as text; on a thread, for it may be megabytes.

    Raises
    ------
    MalformedRequest
        If it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # what is not even ASCII is a ValueError, the rest a kind of it
        raise MalformedRequest("the image is not base64") from error


def parse_json(body: bytes, *, most: int, marks: bytes = b'[{",') -> Any:
    """Parse JSON that has few parts, however long their texts; on a thread.

    While it is parsed no other thread runs, and a part may take thirty times as much memory as its
    text: 32 MiB of lists would stop the server for seconds and take more than a gigabyte. So what
    begins parts is counted first, wherever it stands.

    Parameters
    ----------
    body : bytes
        The JSON.
    most : int
        How many marks there may be.
    marks : bytes
        What is counted.

    Raises
    ------
    MalformedRequest
        If there are more.
    orjson.JSONDecodeError
        If it is no JSON.
    """
    found = 0
    for at in range(0, len(body), _PIECE):  # in pieces, so that other threads run in between
        found += sum(body.count(mark, at, at + _PIECE) for mark in marks)
        if found > most:
            raise MalformedRequest("the JSON body has too many parts")
    return orjson.loads(body)


def _parse_json(body: bytes) -> bytes | str:
    """Return the image of a JSON body, or the address of it."""
    try:
        said: dict[str, Any] = parse_json(body, most=_MAX_PARTS)
        image: dict[str, Any] = said[FIELD]
        _check_beside_image(said)
        if "url" in image and isinstance(image["url"], str):
            return str(image["url"])
        return from_base64(image["base64"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise MalformedRequest('a JSON body must look like {"image": {"base64": "…"}}') from error
