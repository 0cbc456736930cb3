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
from service.arrays import UInt8
from service.backends.base import CALL_PIXELS, Backend, CallContext, Model, Outputs
from service.domain import ImageLimits, Plane, Prediction, Stage, Timings
from service.errors import DeadlineExceeded, DiscernError
from service.imaging.decode import decode_image
from service.imaging.geometry import fit_batch
from service.imaging.scaling import rescale
from service.postprocess.extract import extract, label, rank
from service.postprocess.resizing import at_size, options_at
from service.postprocess.tiling import Stitcher, Tile, plan_tiles
from service.request import Asked, Render, Reply, Result, Seen
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

    async def segment(self, source: bytes | Seen, asked: Asked, render: Render) -> Reply:
        """Segment one image.

        Parameters
        ----------
        source : bytes or Seen
            The image file, or what the network saw in it before.
        asked : Asked
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
            async with self.gate.admitted(asked.deadline):
                if isinstance(source, Seen):
                    seen = source
                else:
                    seen = await self.decode(source, await self.model(asked), asked)
                    if asked.scale is None:
                        seen = await self._search_scale(seen, asked)
                if seen.prediction is None and max(seen.size) <= asked.tile_px:
                    [prediction] = await self.predict([seen.pixels], seen.model, asked)
                    seen = replace(seen, prediction=prediction)
                view = seen.prediction or await self._see_by_tiles(seen, asked)
                result, body = await self._run(
                    asked, "postprocess", _answer, seen, view, asked, render
                )
                found = result
                keep = asked.keep and seen.prediction is not None
                kept = await self._run(asked, "encode", seen.copy) if keep else None
        finally:
            timings = asked.clock.read()
            # The answer is on its way before the loop turns to this.
            asyncio.get_running_loop().call_soon(self._observe, timings, asked, found)
        return Reply(result, body, timings, kept)

    async def model(self, asked: Asked) -> Model:
        """Return the model that is asked for.

        Raises
        ------
        ModelNotFound, BackendUnavailable
            As the backend says.
        DeadlineExceeded
            If it does not say in time: a server that is starting may hold its answer back.
        """
        try:
            async with asyncio.timeout(asked.deadline.left_s()):
                return await self.backend.model(asked.model, asked.version)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"no model was named within {asked.deadline.allowed_s:g} s", stage=asked.clock.stage
            ) from error

    async def decode(self, data: bytes, model: Model, asked: Asked) -> Seen:
        """Decode an image file for a model, and bring it to the scale that is asked for, if any."""
        scale = 1.0 if asked.scale is None else asked.scale
        return await self._run(
            asked, "decode", _decoded, data, model, asked.plane, scale, self.limits
        )

    async def _search_scale(self, seen: Seen, asked: Asked) -> Seen:
        """Look at an image at several scales; return it at the best."""
        largest = largest_scale(seen.size, self.limits)
        look = partial(self._look_at_scale, seen, asked)
        best = await best_look(look, seen.model.recipe.object_px, largest)
        if best.seen.prediction:
            return best.seen
        scale, pixels = best.seen.scale, seen.pixels
        scaled = await self._run(asked, "decode", rescale, pixels, scale, self.limits)
        return replace(seen, scale=scale, pixels=scaled)

    async def _look_at_scale(self, seen: Seen, asked: Asked, scale: float) -> Look:
        """Infer and label an image, or its busiest part, at one scale."""
        part = await self._run(asked, "decode", part_at, seen, scale, asked.tile_px, self.limits)
        [prediction] = await self.predict([part.pixels], seen.model, asked)
        if max(seen.size) * scale <= asked.tile_px:  # it was seen whole
            part = replace(part, prediction=prediction)
        return await self._run(asked, "postprocess", judge, part, prediction)

    async def _see_by_tiles(self, seen: Seen, asked: Asked) -> Stitcher:
        """Infer and label tile after tile, to be joined by what their shared strips show."""
        height, width = seen.size
        tiles = plan_tiles(height, width, asked.tile_px, asked.tile_px // OVERLAP)
        stitcher = await self._run(asked, "postprocess", Stitcher, height, width, tiles)
        together = seen.model.images_per_call(tiles[0].height * tiles[0].width)
        for first in range(0, len(tiles), together):
            await self._add_tiles(seen, tiles[first : first + together], stitcher, asked)
        return stitcher

    async def _add_tiles(
        self, seen: Seen, tiles: Sequence[Tile], stitcher: Stitcher, asked: Asked
    ) -> None:
        """Infer tiles in one call and label them; what was seen in them is gone at the end."""
        recipe, options = seen.model.recipe, options_at(asked.options, seen.image.size, seen.size)
        windows = [seen.pixels[tile.window] for tile in tiles]
        predictions = await self.predict(windows, seen.model, asked)
        for tile, prediction in zip(tiles, predictions, strict=True):
            size = (tile.height, tile.width)
            part = await self._run(asked, "postprocess", label, prediction, recipe, size, options)
            await self._run(asked, "postprocess", stitcher.add, tile, part)

    async def predict(
        self, images: Sequence[UInt8], model: Model, asked: Asked
    ) -> list[Prediction]:
        """Fit images to one size that the network takes, and infer them in one call."""
        multiple, buckets = model.recipe.size_multiple, model.recipe.size_buckets
        fit = partial(fit_batch, images, multiple=multiple, buckets=buckets)
        if sum(image.shape[0] * image.shape[1] for image in images) > CALL_PIXELS:
            fitted = await self._run(asked, "inference", fit)
        else:  # there and back would take longer than the copy, if there is one at all
            asked.clock.enter("inference")
            fitted = fit()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        context = CallContext(
            asked.request_id, asked.deadline, asked.headers, asked.priority, sizes
        )
        outputs = await self._infer(fitted, model, context)
        return [to_prediction(outputs.tensors, index=i) for i in range(len(images))]

    async def _run(
        self,
        asked: Asked,
        stage: Stage,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function on a worker thread within the time allowed; it is counted to `stage`."""
        if asked.clock.stage != stage:
            asked.clock.enter(stage)
        try:
            return await self._workers.run(asked.deadline, function, *args, **kwargs)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the answer was not there within {asked.deadline.allowed_s:g} s",
                stage=asked.clock.stage,  # the function may have come to another
            ) from error

    async def _infer(self, images: UInt8, model: Model, context: CallContext) -> Outputs:
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

    def _observe(self, timings: Timings, asked: Asked, found: Result | None) -> None:
        trace = exemplar(asked.headers)
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
    seen: Seen, view: Prediction | Stitcher, asked: Asked, render: Render
) -> tuple[Result, bytes]:
    """Find and write on one thread: changing it costs as much as writing a small answer."""
    recipe, size, options = seen.model.recipe, seen.image.size, asked.options
    if isinstance(view, Stitcher):
        # Of what two tiles saw apart, a core may hold a sliver.
        least = recipe.decoder.get("min_pixels", 1) if options.min_area is None else 1
        found = at_size(view.result(), seen.size, int(least))
        segmentation = rank(at_size(found, size, options.min_area), recipe, options)
    else:
        segmentation = extract(view, recipe, seen.size, options, size)
    result = Result(asked, seen, segmentation)
    asked.clock.enter("encode")
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
