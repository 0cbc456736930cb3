"""The pipeline without HTTP: image files in, an answer and a picture per image out."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.api.formats import WRITERS, write_answer
from service.api.schemas import Format
from service.domain import Deadline
from service.errors import ArtefactError, DiscernError
from service.gateway import Gateway, assemble
from service.pipeline import Job
from service.postprocess.extract import ExtractOptions
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: the number of instances, or why there is no answer."""

    path: Path
    instances: int = 0
    problem: str | None = None


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


async def segment_files(
    gateway: Gateway,
    paths: Iterable[Path],
    out: Path,
    *,
    model: str,
    options: ExtractOptions,
) -> AsyncIterator[Outcome]:
    """Segment files, as many at once as the gateway takes, and yield outcomes as they come.

    For ``cells.png`` writes ``out/cells.json`` (the answer of ``POST /segment``) and
    ``out/cells.overlay.png``. A file that fails is reported and leaves nothing behind.
    """
    todo = iter(paths)
    running: set[asyncio.Task[Outcome]] = set()
    while True:
        for path in todo:
            running.add(asyncio.create_task(_segment_file(gateway, path, out, model, options)))
            if len(running) >= gateway.segmenter.gate.slots:
                break
        if not running:
            return
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            yield task.result()


async def _segment_file(
    gateway: Gateway, path: Path, out: Path, model: str, options: ExtractOptions
) -> Outcome:
    job = Job(
        request_id=uuid.uuid4().hex,
        deadline=Deadline.after(gateway.settings.max_timeout_ms / 1e3),
        model=model,
        options=options,
    )
    answer, overlay = WRITERS[Format.RLE], WRITERS[Format.OVERLAY_PNG]
    try:
        data = await asyncio.to_thread(path.read_bytes)
        reply = await gateway.segmenter.segment(data, job, answer.render)
        picture = await asyncio.to_thread(overlay.render, reply.result)
        await asyncio.to_thread(
            (out / f"{path.stem}.json").write_bytes, write_answer(reply, answer)
        )
        await asyncio.to_thread((out / f"{path.stem}.overlay.png").write_bytes, picture)
    except DiscernError as error:
        return Outcome(path, problem=error.detail)
    except OSError as error:
        return Outcome(path, problem=error.strerror or "the file cannot be read or written")
    return Outcome(path, instances=len(reply.result.segmentation.instances))
