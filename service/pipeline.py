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
from service.request import Asked, Render, Reply, Result, ScaledImage
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

    async def segment(self, source: bytes | ScaledImage, asked: Asked, render: Render) -> Reply:
        """Segment one image.

        Parameters
        ----------
        source : bytes or ScaledImage
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
                if isinstance(source, ScaledImage):
                    scaled = source
                else:
                    scaled = await self.decode(source, await self.model(asked), asked)
                    if asked.scale is None:
                        scaled = await self._search_scale(scaled, asked)
                if scaled.prediction is None and max(scaled.size) <= asked.tile_px:
                    [prediction] = await self.predict([scaled.pixels], scaled.model, asked)
                    scaled = replace(scaled, prediction=prediction)
                view = scaled.prediction or await self._see_by_tiles(scaled, asked)
                result, body = await self._run(
                    asked, "postprocess", _answer, scaled, view, asked, render
                )
                found = result
                keep = asked.keep and scaled.prediction is not None
                kept = await self._run(asked, "encode", scaled.copy) if keep else None
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

    async def decode(self, data: bytes, model: Model, asked: Asked) -> ScaledImage:
        """Decode an image file for a model, and bring it to the scale that is asked for, if any."""
        scale = 1.0 if asked.scale is None else asked.scale
        return await self._run(
            asked, "decode", _decoded, data, model, asked.plane, scale, self.limits
        )

    async def _search_scale(self, scaled: ScaledImage, asked: Asked) -> ScaledImage:
        """Look at an image at several scales; return it at the best."""
        largest = largest_scale(scaled.size, self.limits)
        look = partial(self._look_at_scale, scaled, asked)
        best = await best_look(look, scaled.model.recipe.object_px, largest)
        if best.scaled.prediction:
            return best.scaled
        scale = best.scaled.scale
        pixels = await self._run(asked, "decode", rescale, scaled.pixels, scale, self.limits)
        return replace(scaled, scale=scale, pixels=pixels)

    async def _look_at_scale(self, scaled: ScaledImage, asked: Asked, scale: float) -> Look:
        """Infer and label an image, or its busiest part, at one scale."""
        part = await self._run(asked, "decode", part_at, scaled, scale, asked.tile_px, self.limits)
        [prediction] = await self.predict([part.pixels], scaled.model, asked)
        if max(scaled.size) * scale <= asked.tile_px:  # it was seen whole
            part = replace(part, prediction=prediction)
        return await self._run(asked, "postprocess", judge, part, prediction)

    async def _see_by_tiles(self, scaled: ScaledImage, asked: Asked) -> Stitcher:
        """Infer and label tile after tile, to be joined by what their shared strips show."""
        height, width = scaled.size
        tiles = plan_tiles(height, width, asked.tile_px, asked.tile_px // OVERLAP)
        stitcher = await self._run(asked, "postprocess", Stitcher, height, width, tiles)
        together = scaled.model.images_per_call(tiles[0].height * tiles[0].width)
        for first in range(0, len(tiles), together):
            await self._add_tiles(scaled, tiles[first : first + together], stitcher, asked)
        return stitcher

    async def _add_tiles(
        self, scaled: ScaledImage, tiles: Sequence[Tile], stitcher: Stitcher, asked: Asked
    ) -> None:
        """Infer tiles in one call and label them; what was seen in them is gone at the end."""
        recipe = scaled.model.recipe
        options = options_at(asked.options, scaled.image.size, scaled.size)
        windows = [scaled.pixels[tile.window] for tile in tiles]
        predictions = await self.predict(windows, scaled.model, asked)
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


def _decoded(
    data: bytes, model: Model, plane: Plane, scale: float, limits: ImageLimits
) -> ScaledImage:
    """Decode and scale on one thread."""
    image = decode_image(data, limits, plane)
    return ScaledImage(model, image, scale, rescale(image.pixels, scale, limits))


def _answer(
    scaled: ScaledImage, view: Prediction | Stitcher, asked: Asked, render: Render
) -> tuple[Result, bytes]:
    """Find and write on one thread: changing it costs as much as writing a small answer."""
    recipe, size, options = scaled.model.recipe, scaled.image.size, asked.options
    if isinstance(view, Stitcher):
        # Of what two tiles saw apart, a core may hold a sliver.
        least = recipe.decoder.get("min_pixels", 1) if options.min_area is None else 1
        found = at_size(view.result(), scaled.size, int(least))
        segmentation = rank(at_size(found, size, options.min_area), recipe, options)
    else:
        segmentation = extract(view, recipe, scaled.size, options, size)
    result = Result(asked, scaled, segmentation)
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
