"""A request from its bytes to its answer: decode, fit, infer, extract, respond.

Axes: H W image, N batch (1 here).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from service import signature
from service.backends.base import Backend, CallContext, Model, Outputs
from service.domain import Deadline, DecodedImage, ImageLimits, Prediction, Segmentation, Timings
from service.errors import DiscernError
from service.imaging.decode import decode_image
from service.imaging.geometry import fit
from service.postprocess.extract import ExtractOptions, Labelled, extract, label, rank
from service.postprocess.tiling import Stitcher, plan_tiles
from service.telemetry.clock import StageClock
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import exemplar
from service.workers import Gate, Workers

OVERLAP = 8
"""Neighbouring tiles share one part in so many of their side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked of one image.

    Parameters
    ----------
    request_id : str
        Follows the request into logs and to the inference server.
    deadline : Deadline
        When the answer stops being of use.
    model : str
        Name of the model.
    version : str, optional
        Its version; the newest ready one when None.
    options : ExtractOptions
        What the caller wants other than the recipe says.
    image_id : int
        What the caller calls the image, in formats that say so.
    keep : bool
        Whether `Reply.kept` is to hold what the network saw, where it saw the image whole.
    tile_px : int
        Longest side that goes through the network at once; a larger image is cut into tiles.
    headers : mapping of str to str
        Trace context to pass on.
    clock : StageClock
        Keeps where the time goes, also for a job that fails; one job, one clock.
    """

    request_id: str
    deadline: Deadline
    model: str
    version: str | None = None
    options: ExtractOptions = field(default_factory=ExtractOptions)
    image_id: int = 0
    keep: bool = False
    tile_px: int = 1024
    headers: Mapping[str, str] = field(default_factory=dict)
    clock: StageClock = field(default_factory=lambda: StageClock("queue"))


@dataclass(frozen=True, slots=True)
class Seen:
    """What the network saw in an image: all that is needed to find its instances.

    `prediction` is None for an image that is too large to be seen whole.
    """

    model: Model
    image: DecodedImage
    prediction: Prediction | None

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        seen = self.prediction
        maps = (seen.embedding, seen.foreground_logits, *seen.extras.values()) if seen else ()
        return sum(array.nbytes for array in (self.image.pixels, *maps))

    def copy(self) -> Seen:
        """Return the same in memory of its own, for use after the backend's is given back."""
        if self.prediction is None:
            return self
        prediction = Prediction(
            self.prediction.embedding.copy(),
            self.prediction.foreground_logits.copy(),
            {name: array.copy() for name, array in self.prediction.extras.items()},
        )
        return replace(self, prediction=prediction)


@dataclass(frozen=True, slots=True)
class Result:
    """What was found, and what is needed to write it down."""

    job: Job
    model: Model
    image: DecodedImage
    prediction: Prediction | None
    segmentation: Segmentation


Render = Callable[[Result], bytes]
"""Writes a result in the format that was asked for; runs on a worker thread."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A result, its rendering, what each stage took, and what was to be kept."""

    result: Result
    body: bytes
    timings: Timings
    kept: Seen | None = None


class Segmenter:
    """The whole pipeline over one backend and one pool of workers."""

    def __init__(
        self, backend: Backend, workers: Workers, gate: Gate, metrics: Metrics, limits: ImageLimits
    ) -> None:
        self.backend = backend
        self.gate = gate
        self._workers = workers
        self._metrics = metrics
        self._limits = limits

    async def segment(self, source: bytes | Seen, job: Job, render: Render) -> Reply:
        """Segment one image.

        Parameters
        ----------
        source : bytes or Seen
            The image file, or what the network saw in it before.
        job : Job
            What is asked of it.
        render : callable
            Writes the result as the answer's body.

        Raises
        ------
        DiscernError
            Any of `service.errors` but `ArtefactError`.
        """
        clock = job.clock
        run = self._workers.run
        try:
            async with self.gate.admitted(job.deadline), self._look(source, job) as seen:
                image = seen.image
                clock.enter("postprocess")
                if seen.prediction is None:
                    segmentation = await self._by_tiles(seen.model, image, job)
                else:
                    segmentation = await run(
                        job.deadline, "postprocess", extract, seen.prediction, seen.model.recipe,
                        (image.height, image.width), job.options,
                    )  # fmt: skip
                clock.enter("encode")
                result = Result(job, seen.model, image, seen.prediction, segmentation)
                body = await run(job.deadline, "encode", render, result)
                keep = job.keep and seen.prediction is not None
                kept = await run(job.deadline, "encode", seen.copy) if keep else None
        finally:
            timings = clock.read()
            self._observe_stages(timings, job)
        self._metrics.image_pixels.observe(image.height * image.width)
        self._metrics.instances.observe(len(segmentation.instances))
        return Reply(result, body, timings, kept)

    @asynccontextmanager
    async def _look(self, source: bytes | Seen, job: Job) -> AsyncIterator[Seen]:
        """Decode, and infer what is not too large; tensors are given back when the block ends."""
        if isinstance(source, Seen):
            yield source
            return
        model = await self.backend.model(job.model, job.version)
        job.clock.enter("decode")
        image = await self._workers.run(job.deadline, "decode", decode_image, source, self._limits)
        if max(image.height, image.width) > job.tile_px:
            yield Seen(model, image, None)
            return
        async with self._predict(image.pixels, model, job) as prediction:
            yield Seen(model, image, prediction)

    async def _by_tiles(self, model: Model, image: DecodedImage, job: Job) -> Segmentation:
        """Infer and label tile after tile, and join what their shared strips show to be one."""
        tiles = plan_tiles(image.height, image.width, job.tile_px, job.tile_px // OVERLAP)
        stitcher = Stitcher(image.height, image.width, tiles)
        run, recipe = self._workers.run, model.recipe
        for tile in tiles:
            async with self._predict(image.pixels[tile.window], model, job) as prediction:
                job.clock.enter("postprocess")
                part = await run(
                    job.deadline, "postprocess", label, prediction, recipe,
                    (tile.height, tile.width), job.options,
                )  # fmt: skip
            await run(
                job.deadline, "postprocess", stitcher.add, tile,
                part.labels, part.scores, part.classes,
            )  # fmt: skip
        joined = Labelled(*await run(job.deadline, "postprocess", stitcher.result))
        return await run(job.deadline, "postprocess", rank, joined, recipe, job.options)

    @asynccontextmanager
    async def _predict(
        self, pixels: npt.NDArray[np.uint8], model: Model, job: Job
    ) -> AsyncIterator[Prediction]:
        """Fit and infer; the tensors are given back when the block ends."""
        recipe = model.recipe
        job.clock.enter("inference")
        fitted = await self._workers.run(
            job.deadline, "inference", fit, pixels,
            multiple=recipe.size_multiple, buckets=recipe.size_buckets,
        )  # fmt: skip
        context = CallContext(job.request_id, job.deadline, job.headers)
        outputs = await self._infer(fitted[np.newaxis], model, context)
        try:
            yield to_prediction(outputs.tensors, index=0)
        finally:
            outputs.release()

    async def _infer(
        self, images: npt.NDArray[np.uint8], model: Model, context: CallContext
    ) -> Outputs:
        """Call the network; count the call, how it ended and what it moved."""
        metrics = self._metrics
        code, began_s = "internal-error", time.perf_counter()
        try:
            outputs = await self.backend.infer(images, model, context)
            code = "ok"
        except DiscernError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = "cancelled"
            raise
        finally:
            kind = type(self.backend).__name__.removesuffix("Backend").lower()
            metrics.backend_duration.labels(kind, model.name, model.version, code).observe(
                time.perf_counter() - began_s, exemplar(context.headers)
            )
            metrics.backend_batch.observe(len(images))
        metrics.backend_bytes.labels("in").inc(outputs.bytes_in)
        metrics.backend_bytes.labels("out").inc(outputs.bytes_out)
        return outputs

    def _observe_stages(self, timings: Timings, job: Job) -> None:
        trace = exemplar(job.headers)
        for stage, seconds in timings.stages_s.items():
            if seconds:
                self._metrics.stage_duration.labels(stage).observe(seconds, trace)


def to_prediction(tensors: Mapping[str, npt.NDArray[Any]], *, index: int) -> Prediction:
    """Take one image out of a batch of network outputs, without a copy."""
    own = (signature.EMBEDDING, signature.FOREGROUND)
    return Prediction(
        embedding=tensors[signature.EMBEDDING][index],
        foreground_logits=tensors[signature.FOREGROUND][index],
        extras={name: array[index] for name, array in tensors.items() if name not in own},
    )
