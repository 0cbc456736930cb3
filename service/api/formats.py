"""How a result is written: one renderer per format, run on a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.api.schemas import Format
from service.domain import Instance, Timings
from service.errors import NotAcceptable
from service.masks.rle import to_uncompressed
from service.pipeline import Render, Reply, Result

JSON: Final = "application/json"
PNG: Final = "image/png"


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
        The ``Accept`` header, empty when absent.

    Raises
    ------
    NotAcceptable
        If `accept` admits none of our media types, or not that of `wanted`.
    """
    ranges = [part.partition(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    candidates = (wanted,) if wanted else (Format.RLE, Format.LABEL_PNG)
    for candidate in candidates:
        media_type = WRITERS[candidate].media_type
        if not ranges or {media_type, "*/*", media_type.partition("/")[0] + "/*"} & set(ranges):
            return candidate
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
            "request_id": result.job.request_id,
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


def _render_instances(segmentation_of: Callable[[Instance], Any]) -> Render:
    def render(result: Result) -> bytes:
        return orjson.dumps(
            [
                {
                    "id": instance.id,
                    "category": {"id": instance.category.id, "name": instance.category.name},
                    "score": round(instance.score, 4),
                    "area": instance.area_px,
                    "bbox": instance.bbox_xywh,
                    "centroid": [round(value, 2) for value in instance.centroid_xy],
                    "segmentation": segmentation_of(instance),
                }
                for instance in result.segmentation.instances
            ]
        )

    return render


WRITERS: Final[dict[Format, Writer]] = {
    Format.RLE: Writer(JSON, _render_instances(lambda found: found.rle), enveloped=True),
    Format.RLE_UNCOMPRESSED: Writer(
        JSON, _render_instances(lambda found: to_uncompressed(found.rle)), enveloped=True
    ),
}
