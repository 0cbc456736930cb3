"""How a result is written: one renderer per format, run on a worker thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import orjson

from service.api.accept import weight_of
from service.api.schemas import Format
from service.arrays import Floats, UInt8
from service.domain import Prediction, Timings
from service.errors import BadParameter, NotAcceptable
from service.masks.imagej import roi_zip
from service.masks.label_png import label_png, write_png
from service.masks.overlay import embedding_picture, embedding_png, overlay, overlay_png
from service.masks.polygon import polygons_of_labels
from service.masks.rle import to_uncompressed
from service.postprocess.quantised import dequantise
from service.postprocess.segmentation import Segmentation
from service.request import Render, Reply, Result

JSON: Final = "application/json"
PNG: Final = "image/png"
ZIP: Final = "application/zip"


@dataclass(frozen=True, slots=True)
class Writer:
    """A format: its media type, and what makes the body.

    `render` writes the part that costs time; for JSON answers that is the list of instances, which
    `write_answer` puts into its envelope once the timings are known.
    """

    media_type: str
    render: Render
    enveloped: bool = False


def choose_format(wanted: Format | None, accept: str) -> Format:
    """Return the format of an answer.

    Parameters
    ----------
    wanted : Format or None
        The query parameter; it wins.
    accept : str
        The ``Accept`` header, empty when absent; of equal weights, JSON's wins.

    Raises
    ------
    NotAcceptable
        If `accept` admits none of our media types, or not that of `wanted`.
    """
    candidates = (wanted,) if wanted else (Format.RLE, Format.LABEL_PNG)
    weights = [weight_of(WRITERS[candidate].media_type, accept) for candidate in candidates]
    best = max(weights)
    if best > 0:
        return candidates[weights.index(best)]
    raise NotAcceptable(
        f"Accept: {accept} does not admit "
        + (f"{WRITERS[wanted].media_type} of format {wanted}" if wanted else f"{JSON} or {PNG}")
    )


def write_answer(reply: Reply, writer: Writer) -> bytes:
    """Put a rendered result into its envelope, if its format has one."""
    if not writer.enveloped:
        return reply.body
    result = reply.result
    image = result.image
    return orjson.dumps(
        {
            "request_id": result.asked.request_id,
            "model": {
                "name": result.model.name,
                "version": result.model.version,
                "method": result.model.recipe.method,
            },
            "image": {
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "orientation_applied": image.orientation_applied,
                "source_bits": image.source_bits,
                "scaled_range": image.scaled_range,
                "frames": image.frames,
                "page": image.plane.page,
                "channel": image.plane.channel,
                "scale": result.scaled.scale,
            },
            "instances": orjson.Fragment(reply.body),
            "timings_ms": timings_ms(reply.timings),
        }
    )


def timings_ms(timings: Timings) -> dict[str, float]:
    """Return the milliseconds of every stage and of all together."""
    spent: dict[str, float] = {
        stage: round(seconds * 1e3, 3) for stage, seconds in timings.stages_s.items()
    }
    return {**spent, "total": round(timings.total_s * 1e3, 3)}


def write_instances(found: Segmentation, masks: Iterable[Any]) -> bytes:
    """Write instances as the JSON answers list them, each with its mask in some form."""
    rows = zip(
        found.categories,
        # All at once: Python's own rounding takes half of the time for a whole instance.
        np.round(found.scores, 4).tolist(),
        found.areas_px.tolist(),
        found.boxes_xywh.tolist(),
        np.round(found.centroids_xy, 2).tolist(),
        masks,
        strict=True,
    )
    return orjson.dumps(
        [
            {
                "id": number,
                "category": {"id": category.id, "name": category.name},
                "score": score,
                "area": area,
                "bbox": box,
                "centroid": centroid,
                "segmentation": mask,
            }
            for number, (category, score, area, box, centroid, mask) in enumerate(rows, start=1)
        ]
    )


def _rle(result: Result) -> bytes:
    return write_instances(result.segmentation, result.segmentation.rles)


def _rle_uncompressed(result: Result) -> bytes:
    return write_instances(result.segmentation, map(to_uncompressed, result.segmentation.rles))


def _polygons(result: Result) -> bytes:
    outlines = polygons_of_labels(result.segmentation.labels)
    masks = ({"type": "MultiPolygon", "coordinates": outline} for outline in outlines)
    return write_instances(result.segmentation, masks)


def _coco(result: Result) -> bytes:
    return orjson.dumps(
        [
            {
                "image_id": result.asked.image_id,
                "category_id": instance.category.id,
                "segmentation": instance.rle,
                "bbox": instance.bbox_xywh,
                "area": instance.area_px,
                "score": round(instance.score, 4),
                "iscrowd": 0,
            }
            for instance in result.segmentation.instances
        ]
    )


def _imagej(result: Result) -> bytes:
    outlines = polygons_of_labels(result.segmentation.labels)
    found = result.segmentation.instances
    return roi_zip({f"{i.id:05d}-{i.category.name}": outlines[i.id - 1] for i in found})


def _labels(result: Result) -> bytes:
    return label_png(result.segmentation.labels)


def _overlay(result: Result) -> bytes:
    return overlay_png(result.image.pixels, result.segmentation.labels)


def _seen_whole(result: Result) -> Prediction:
    """Return what the network saw, which exists only for an image that went through it whole."""
    if result.scaled.prediction is None:
        raise BadParameter(
            f"the image went through the network in tiles of {result.asked.tile_px} pixels, and "
            "each has an embedding of its own; this format needs an image that fits into one tile",
            parameter="format",
        )
    if result.model.recipe.clustered:
        raise BadParameter(
            "the inference server clusters for this model and sends no embedding: this format "
            "needs the model whose network it is",
            parameter="format",
        )
    return result.scaled.prediction


def _embedding_of(result: Result) -> Floats:
    """Return the embedding without the part that lies on padding."""
    recipe = result.model.recipe
    height, width = result.scaled.size
    part = np.s_[:, : -(-height // recipe.stride), : -(-width // recipe.stride)]
    sent = _seen_whole(result).embedding[part]
    return dequantise(sent, recipe.embedding_scale, recipe.embedding_slope)


def _probability(result: Result) -> UInt8:
    """Return the foreground probability as 0..255, the highest of all classes."""
    height, width = result.scaled.size
    logits = _seen_whole(result).foreground_logits[:, :height, :width].max(axis=0)
    odds = np.exp(-logits.astype(np.float32).clip(-30, 30))
    probability = np.rint(255 / (1 + odds)).astype(np.uint8)
    return np.asarray(cv2.resize(probability, result.image.size[::-1]), np.uint8)


def _embedding(result: Result) -> bytes:
    return embedding_png(_embedding_of(result))


def _foreground(result: Result) -> bytes:
    return write_png(_probability(result))


def _input(result: Result) -> bytes:
    return write_png(result.image.pixels)


def _panels(result: Result) -> bytes:
    height, width = result.image.size
    rgb = np.broadcast_to(_probability(result)[..., np.newaxis], (height, width, 3))
    seen = cv2.resize(
        embedding_picture(_embedding_of(result)), (width, height), interpolation=cv2.INTER_NEAREST
    )
    found = overlay(result.image.pixels, result.segmentation.labels)
    gap = np.full((height, max(2, width // 64), 3), 255, np.uint8)
    return write_png(np.hstack([result.image.pixels, gap, rgb, gap, seen, gap, found]))


WRITERS: Final[dict[Format, Writer]] = {
    Format.RLE: Writer(JSON, _rle, enveloped=True),
    Format.RLE_UNCOMPRESSED: Writer(JSON, _rle_uncompressed, enveloped=True),
    Format.POLYGONS: Writer(JSON, _polygons, enveloped=True),
    Format.COCO: Writer(JSON, _coco),
    Format.LABEL_PNG: Writer(PNG, _labels),
    Format.OVERLAY_PNG: Writer(PNG, _overlay),
    Format.EMBEDDING_PNG: Writer(PNG, _embedding),
    Format.FOREGROUND_PNG: Writer(PNG, _foreground),
    Format.INPUT_PNG: Writer(PNG, _input),
    Format.PANELS_PNG: Writer(PNG, _panels),
    Format.IMAGEJ_ZIP: Writer(ZIP, _imagej),
}
