"""The pipeline in this process, without HTTP: what the commands use when no server is named."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.api.formats import WRITERS, write_answer
from service.api.schemas import Format
from service.domain import Deadline
from service.errors import ArtefactError
from service.gateway import Gateway, assemble
from service.pipeline import Job
from service.postprocess.extract import ExtractOptions
from service.settings import Settings


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Start a gateway, hand it over when it is ready, close it.

    Raises
    ------
    ArtefactError
        If it cannot become ready; says why.
    """
    gateway = assemble(settings)
    try:
        await gateway.lifecycle.start()
        state = await gateway.lifecycle.readiness()
        if not state.ready:
            raise ArtefactError("; ".join(state.reasons))
        yield gateway
    finally:
        await gateway.aclose()


def for_many_images(settings: Settings) -> Settings:
    """Return settings that give the most images a second rather than the fastest single one.

    Networks that run side by side on one thread each waste nothing on waiting for one another.
    """
    if settings.inference_threads:
        return settings
    cores = os.cpu_count() or 1
    return settings.model_copy(update={"inference_threads": 1, "max_in_flight": 2 * cores})


async def answer(
    gateway: Gateway,
    data: bytes,
    wanted: Format,
    *,
    model: str,
    options: ExtractOptions,
) -> bytes:
    """Segment one image and return the answer's body in the format that is wanted.

    Raises
    ------
    DiscernError
        As `Segmenter.segment` does.
    """
    job = Job(
        request_id=uuid.uuid4().hex,
        deadline=Deadline.after(gateway.settings.max_timeout_ms / 1e3),
        model=model,
        options=options,
    )
    writer = WRITERS[wanted]
    reply = await gateway.segmenter.segment(data, job, writer.render)
    return write_answer(reply, writer)
