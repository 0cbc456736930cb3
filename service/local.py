"""The pipeline in this process, without HTTP: what the commands use when no server is named."""

from __future__ import annotations

import asyncio
import os
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Final, ParamSpec, TypeVar

from service.api.formats import WRITERS, write_answer
from service.api.schemas import Format
from service.backends.factory import create_backend
from service.domain import Deadline
from service.errors import ArtefactError, OutOfMemory
from service.gateway import Gateway, assemble
from service.memory import was_short
from service.request import Asked
from service.settings import Settings
from service.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")
Answer = Callable[[bytes], bytes]
Ask = Callable[[Deadline], Asked]

MANY: Final = 8
"""Images from which on networks run side by side."""


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Start a gateway, hand it over when it is ready, close it.

    Raises
    ------
    ArtefactError
        If it cannot become ready; says why.
    """
    # Nobody waits at a door here: computing is all there is to do.
    gateway = assemble(settings.model_copy(update={"compute_nice": 0}))
    try:
        yield await _ready(gateway)
    finally:
        await gateway.aclose()


def lanes_for(images: int, settings: Settings) -> int:
    """Return how many lanes give the answers to so many images soonest.

    Networks that run side by side on one thread each waste nothing on waiting for one another; a
    few images are answered sooner one after the other, each by all cores.
    """
    if images < MANY:
        return 1
    if not settings.network_is_here():
        return settings.in_flight_limit()
    return max(1, (os.cpu_count() or 1) // (settings.inference_threads or 1))


@contextmanager
def lanes(
    settings: Settings,
    wanted: Format,
    *,
    count: int,
    ask: Ask,
) -> Iterator[Answer]:
    """Open lanes and hand over what answers an image on one that is free, from any thread.

    A lane is a gateway that answers one image at a time without ever changing threads, not even for
    its network: each change costs as much as finding the outlines does. Lanes side by side use
    every core.

    Parameters
    ----------
    settings : Settings
        Of each lane's gateway; the cores are shared out among their networks.
    wanted : Format
        Of the answers.
    count : int
        Lanes.
    ask : callable
        Says what is asked of an image, by a deadline; the model is the same for all.

    Raises
    ------
    ArtefactError
        If a gateway cannot become ready; says why.
    ModelNotFound
        If there is no such model.
    """
    threads = settings.inference_threads or max(1, (os.cpu_count() or 1) // count)
    settings = settings.model_copy(update={"inference_threads": threads})
    free: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def answer(data: bytes) -> bytes:
        lane = free.get()
        try:
            return lane(data)
        finally:
            free.put(lane)

    with ExitStack() as stack:
        opening = [_lane(settings, wanted, ask) for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            for lane in pool.map(stack.enter_context, opening):
                free.put(lane)
        yield answer


@contextmanager
def _lane(settings: Settings, wanted: Format, ask: Ask) -> Iterator[Answer]:
    writer = WRITERS[wanted]

    def asked() -> Asked:
        return ask(Deadline.after(settings.max_timeout_ms / 1e3))

    async def segment(data: bytes) -> bytes:
        reply = await gateway.segmenter.segment(data, asked(), writer.render)
        return write_answer(reply, writer)

    with asyncio.Runner() as runner:
        gateway = assemble(settings, _Here(threads=1), create_backend(settings, in_place=True))
        try:
            runner.run(_ready(gateway))
            runner.run(gateway.segmenter.model(asked()))  # said once, not for every image
            yield lambda data: runner.run(segment(data))
        finally:
            runner.run(gateway.aclose())


class _Here(Workers):
    """Runs functions on the thread that asks, for callers who have that thread to themselves."""

    async def run(
        self,
        deadline: Deadline,  # noqa: ARG002 - what has begun cannot be stopped
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if was_short(error):
                raise OutOfMemory from error
            raise


async def _ready(gateway: Gateway) -> Gateway:
    await gateway.lifecycle.start(patient=False)  # whoever gave the command is waiting
    state = await gateway.lifecycle.readiness()
    if not state.ready:
        raise ArtefactError("; ".join(state.reasons))
    return gateway
