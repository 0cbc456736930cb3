"""What several commands have in common: the server, the model, the settings of a segmentation."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from discern.client import AsyncClient, DiscernClientError
from discern.results import Settings as Asked
from service.api.schemas import Format
from service.errors import DiscernError
from service.files import Answer
from service.local import answer, running_gateway
from service.postprocess.extract import ExtractOptions
from service.settings import Settings

T = TypeVar("T")


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add where the work is done."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="a running server to ask; without it the work is done in this process",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what may be asked of a segmentation."""
    parser.add_argument("--model", help="name of the model (default: DISCERN_DEFAULT_MODEL)")
    parser.add_argument("--bandwidth", type=float, help="clustering radius, in embedding units")
    parser.add_argument("--foreground-threshold", type=float, help="probability, in (0, 1)")
    parser.add_argument("--min-area", type=int, help="smallest instance, in pixels")
    parser.add_argument("--min-score", type=float, default=0.0, help="lowest score, in [0, 1]")


def client_for(url: str, settings: Settings) -> AsyncClient:
    """Return a client of a server; the key comes from ``DISCERN_API_KEY``."""
    timeout_s = settings.timeout_ms / 1e3
    return AsyncClient(url, api_key=os.environ.get("DISCERN_API_KEY"), timeout_s=timeout_s)


@asynccontextmanager
async def answering(
    arguments: argparse.Namespace, settings: Settings, wanted: Format
) -> AsyncIterator[tuple[Answer, int]]:
    """Hand over what answers images, here or on a server, and how many at once suit it."""
    if arguments.url:
        asked: Asked = {"min_score": arguments.min_score}
        for name in ("model", "bandwidth", "foreground_threshold", "min_area"):
            if getattr(arguments, name) is not None:
                asked[name] = getattr(arguments, name)
        async with client_for(arguments.url, settings) as client:
            limits = await _told(client.limits())
            yield partial(_ask, client, wanted, asked), max(1, int(limits["in_flight"]))
        return
    options = ExtractOptions(
        bandwidth=arguments.bandwidth,
        foreground_threshold=arguments.foreground_threshold,
        min_area=arguments.min_area,
        min_score=arguments.min_score,
    )
    model = arguments.model or settings.default_model
    async with running_gateway(settings) as gateway:
        here = partial(answer, gateway, wanted=wanted, model=model, options=options)
        yield here, gateway.segmenter.gate.slots


async def _ask(client: AsyncClient, wanted: Format, asked: Asked, data: bytes) -> bytes:
    return await _told(client.render(data, wanted.value, **asked))


async def _told(call: Awaitable[T]) -> T:
    """Await a call of the client; its errors become ours."""
    try:
        return await call
    except DiscernClientError as error:
        raise DiscernError(str(error)) from error
