"""A request from its bytes to its answer: decode, scale, fit, infer, extract, respond.

Axes: H W image, N batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from service import signature
from service.backends.base import CALL_PIXELS, Backend, CallContext, Model, Outputs
from service.domain import ImageLimits, Plane, Prediction, Stage, Timings
from service.errors import DeadlineExceeded, DiscernError
from service.imaging.decode import decode_image
from service.imaging.geometry import fit_batch
from service.imaging.scaling import rescale
from service.postprocess.extract import extract, label, rank
from service.postprocess.resizing import at_size, options_at
from service.postprocess.tiling import Stitcher, Tile, plan_tiles
from service.request import Job, Render, Reply, Result, Seen
from service.scale_search import Look, best_look, judge, largest_scale, part_at
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import exemplar
from service.workers import Gate, Workers

P = ParamSpec("P")
T = TypeVar("T")

OVERLAP = 8
"""Neighbouring tiles share one part in so many of their side."""


class Segmenter:
    """The whole pipeline over one backend and one pool of workers."""

    def __init__(
        self, backend: Backend, workers: Workers, gate: Gate, metrics: Metrics, limits: ImageLimits
    ) -> None:
        self.backend = backend
        self.gate = gate
        self._workers = workers
        self._metrics = metrics
        self.limits = limits

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
        found: Result | None = None
        try:
            async with self.gate.admitted(job.deadline):
                if isinstance(source, Seen):
                    seen = source
                else:
                    seen = await self.decode(source, await self.model(job), job)
                    if job.scale is None:
                        seen = await self._search_scale(seen, job)
                if seen.prediction is None and max(seen.size) <= job.tile_px:
                    [prediction] = await self.predict([seen.pixels], seen.model, job)
                    seen = replace(seen, prediction=prediction)
                view = seen.prediction or await self._see_by_tiles(seen, job)
                result, body = await self._run(job, "postprocess", _answer, seen, view, job, render)
                found = result
                keep = job.keep and seen.prediction is not None
                kept = await self._run(job, "encode", seen.copy) if keep else None
        finally:
            timings = job.clock.read()
            # The answer is on its way before the loop turns to this.
            asyncio.get_running_loop().call_soon(self._observe, timings, job, found)
        return Reply(result, body, timings, kept)

    async def model(self, job: Job) -> Model:
        """Return the model that is asked for.

        Raises
        ------
        ModelNotFound, BackendUnavailable
            As the backend says.
        DeadlineExceeded
            If it does not say in time: a server that is starting may hold its answer back.
        """
        try:
            async with asyncio.timeout(job.deadline.left_s()):
                return await self.backend.model(job.model, job.version)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no model was named within {job.deadline.allowed_s:g} s", stage=job.clock.stage
            ) from error

    async def decode(self, data: bytes, model: Model, job: Job) -> Seen:
        """Decode an image file for a model, and bring it to the scale that is asked for, if any."""
        scale = 1.0 if job.scale is None else job.scale
        return await self._run(job, "decode", _decoded, data, model, job.plane, scale, self.limits)

    async def _search_scale(self, seen: Seen, job: Job) -> Seen:
        """Look at an image at several scales; return it at the best."""
        largest = largest_scale(seen.size, self.limits)
        look = partial(self._look_at_scale, seen, job)
        best = await best_look(look, seen.model.recipe.object_px, largest)
        if best.seen.prediction:
            return best.seen
        scale, pixels = best.seen.scale, seen.pixels
        scaled = await self._run(job, "decode", rescale, pixels, scale, self.limits)
        return replace(seen, scale=scale, pixels=scaled)

    async def _look_at_scale(self, seen: Seen, job: Job, scale: float) -> Look:
        """Infer and label an image, or its busiest part, at one scale."""
        part = await self._run(job, "decode", part_at, seen, scale, job.tile_px, self.limits)
        [prediction] = await self.predict([part.pixels], seen.model, job)
        if max(seen.size) * scale <= job.tile_px:  # it was seen whole
            part = replace(part, prediction=prediction)
        return await self._run(job, "postprocess", judge, part, prediction)

    async def _see_by_tiles(self, seen: Seen, job: Job) -> Stitcher:
        """Infer and label tile after tile, to be joined by what their shared strips show."""
        height, width = seen.size
        tiles = plan_tiles(height, width, job.tile_px, job.tile_px // OVERLAP)
        stitcher = Stitcher(height, width, tiles)
        together = seen.model.images_per_call(tiles[0].height * tiles[0].width)
        for first in range(0, len(tiles), together):
            await self._add_tiles(seen, tiles[first : first + together], stitcher, job)
        return stitcher

    async def _add_tiles(
        self, seen: Seen, tiles: Sequence[Tile], stitcher: Stitcher, job: Job
    ) -> None:
        """Infer tiles in one call and label them; what was seen in them is gone at the end."""
        recipe, options = seen.model.recipe, options_at(job.options, seen.image.size, seen.size)
        windows = [seen.pixels[tile.window] for tile in tiles]
        predictions = await self.predict(windows, seen.model, job)
        for tile, prediction in zip(tiles, predictions, strict=True):
            size = (tile.height, tile.width)
            part = await self._run(job, "postprocess", label, prediction, recipe, size, options)
            await self._run(job, "postprocess", stitcher.add, tile, part)

    async def predict(
        self, images: Sequence[npt.NDArray[np.uint8]], model: Model, job: Job
    ) -> list[Prediction]:
        """Fit images to one size that the network takes, and infer them in one call."""
        multiple, buckets = model.recipe.size_multiple, model.recipe.size_buckets
        fit = partial(fit_batch, images, multiple=multiple, buckets=buckets)
        if sum(image.shape[0] * image.shape[1] for image in images) > CALL_PIXELS:
            fitted = await self._run(job, "inference", fit)
        else:  # there and back would take longer than the copy, if there is one at all
            job.clock.enter("inference")
            fitted = fit()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        context = CallContext(job.request_id, job.deadline, job.headers, job.priority, sizes)
        outputs = await self._infer(fitted, model, context)
        return [to_prediction(outputs.tensors, index=i) for i in range(len(images))]

    async def _run(
        self, job: Job, stage: Stage, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function on a worker thread, within the job's time, which is counted to `stage`."""
        if job.clock.stage != stage:
            job.clock.enter(stage)
        try:
            return await self._workers.run(job.deadline, function, *args, **kwargs)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the answer was not there within {job.deadline.allowed_s:g} s",
                stage=job.clock.stage,  # the function may have come to another
            ) from error

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

    def _observe(self, timings: Timings, job: Job, found: Result | None) -> None:
        trace = exemplar(job.headers)
        for stage, seconds in timings.stages_s.items():
            if seconds:
                self._metrics.stage_duration.labels(stage).observe(seconds, trace)
        if found is not None:
            self._metrics.image_pixels.observe(found.image.height * found.image.width)
            self._metrics.instances.observe(found.segmentation.count)


def _decoded(data: bytes, model: Model, plane: Plane, scale: float, limits: ImageLimits) -> Seen:
    """Decode and scale on one thread."""
    image = decode_image(data, limits, plane)
    return Seen(model, image, scale, rescale(image.pixels, scale, limits))


def _answer(
    seen: Seen, view: Prediction | Stitcher, job: Job, render: Render
) -> tuple[Result, bytes]:
    """Find and write on one thread: changing it costs as much as writing a small answer."""
    recipe, size, options = seen.model.recipe, seen.image.size, job.options
    if isinstance(view, Stitcher):
        # Of what two tiles saw apart, a core may hold a sliver.
        least = recipe.decoder.get("min_pixels", 1) if options.min_area is None else 1
        found = at_size(view.result(), seen.size, int(least))
        segmentation = rank(at_size(found, size, options.min_area), recipe, options)
    else:
        segmentation = extract(view, recipe, seen.size, options, size)
    result = Result(job, seen, segmentation)
    job.clock.enter("encode")
    return result, render(result)


def to_prediction(tensors: Mapping[str, npt.NDArray[Any]], *, index: int) -> Prediction:
    """Take one image out of a batch of network outputs, without a copy."""
    parts = {name: array[index] for name, array in tensors.items()}
    nothing = np.empty((0, 0, 0), np.float16)  # of a model that clusters on the server
    return Prediction(
        embedding=parts.pop(signature.EMBEDDING, nothing),
        foreground_logits=parts.pop(signature.FOREGROUND, nothing),
        extras=parts,
    )
