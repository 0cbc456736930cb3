"""Small images of one request, sent through the network in one call.

A call has costs that do not grow with its image, and a GPU is idle while it works on a small one.
Only images of one shape can share a call, and only a bounded number of pixels goes into one.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from service.backends.base import CALL_PIXELS
from service.domain import ImageLimits, Stage
from service.errors import DiscernError
from service.imaging.geometry import fitted_side
from service.imaging.header import read_header
from service.pipeline import Segmenter
from service.request import Asked, ScaledImage

MOST_TOGETHER = 8
"""Images that are looked at together at most: their answers wait for each other."""


def group_small(
    files: Sequence[bytes], limits: ImageLimits, *, scale: float = 1.0
) -> list[list[int]]:
    """Divide files into runs of neighbours that are small enough to be looked at together.

    Parameters
    ----------
    files : sequence of bytes
        Image files, or what claims to be.
    limits : ImageLimits
        What an image may be at most.
    scale : float
        By how much larger the network sees them.

    Returns
    -------
    list of list of int
        Indices, in order; a file that is large, or no image, is alone.
    """
    groups: list[list[int]] = []
    room = 0
    for index, data in enumerate(files):
        pixels = _claimed_pixels(data, limits, scale)
        if pixels > room or len(groups[-1]) == MOST_TOGETHER:
            groups.append([])
            room = CALL_PIXELS
        groups[-1].append(index)
        room -= pixels
    return groups


async def look_together(
    segmenter: Segmenter, files: Sequence[bytes], asked: Sequence[Asked]
) -> list[ScaledImage | DiscernError]:
    """Decode images and infer those of one shape in one call.

    Parameters
    ----------
    segmenter : Segmenter
        The pipeline; its gate lets all of them in as one.
    files : sequence of bytes
        Image files, together no larger than `group_small` allows.
    asked : sequence of Asked
        What is asked of each; model and deadline are the same.

    Returns
    -------
    list of ScaledImage or DiscernError
        For each image what `Segmenter.segment` takes, or why there is nothing.

    Raises
    ------
    ModelNotFound, BackendUnavailable, Overloaded, DeadlineExceeded
        What befalls all of them.
    """
    model = await segmenter.model(asked[0])
    multiple, buckets = model.recipe.size_multiple, model.recipe.size_buckets
    found: list[ScaledImage | DiscernError] = []
    shapes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    async with segmenter.gate.admitted(asked[0].deadline):
        decoding = [
            segmenter.decode(data, model, one) for data, one in zip(files, asked, strict=True)
        ]
        decoded = await asyncio.gather(*decoding, return_exceptions=True)
        _enter("queue", asked)
        for index, scaled in enumerate(decoded):
            if not isinstance(scaled, ScaledImage):
                found.append(_expected(scaled))
                continue
            found.append(scaled)
            if max(scaled.size) <= asked[index].tile_px:
                height, width = (
                    fitted_side(side, multiple=multiple, buckets=buckets) for side in scaled.size
                )
                shapes[height, width].append(index)
        for (height, width), members in shapes.items():
            count = model.images_per_call(height * width)
            for first in range(0, len(members), count):
                await _look_at(segmenter, found, asked, members[first : first + count])
    return found


async def _look_at(
    segmenter: Segmenter,
    found: list[ScaledImage | DiscernError],
    asked: Sequence[Asked],
    part: list[int],
) -> None:
    """Infer some of the images, of one shape, and add to `found` what is seen."""
    scaled = [entry for entry in (found[i] for i in part) if isinstance(entry, ScaledImage)]
    those = [asked[index] for index in part]
    _enter("inference", those)
    try:
        predictions = await segmenter.predict(
            [entry.pixels for entry in scaled], scaled[0].model, those[0]
        )
    except DiscernError as error:
        for index in part:
            found[index] = error
        return
    finally:
        _enter("queue", those)
    for index, entry, prediction in zip(part, scaled, predictions, strict=True):
        found[index] = replace(entry, prediction=prediction)


def _enter(stage: Stage, asked: Sequence[Asked]) -> None:
    """Count the time of all of them to a stage: they go through it together, or wait together."""
    for one in asked:
        one.clock.enter(stage)


def _expected(error: BaseException) -> DiscernError:
    if isinstance(error, DiscernError):
        return error
    raise error


def _claimed_pixels(data: bytes, limits: ImageLimits, scale: float) -> int:
    """Return the pixels that the network sees; of no image, as many as leave it alone."""
    try:
        header = read_header(data, limits)
    except Exception:  # noqa: BLE001 - whoever looks at it alone will say what it is
        return CALL_PIXELS
    return min(math.ceil(header.width * header.height * scale**2), CALL_PIXELS)
