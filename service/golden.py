"""The self-test of a model: the golden image must get its golden answer before anyone is served."""

from __future__ import annotations

import base64
from typing import Any, Final

import numpy as np

from service.arrays import Bool
from service.backends.base import Backend, Model
from service.domain import Deadline, ImageLimits, Instance
from service.errors import BackendUnavailable, CapacityError, DeadlineExceeded, DiscernError
from service.masks.rle import decode
from service.pipeline import Segmenter
from service.request import Asked, Result
from service.telemetry.metrics import Metrics
from service.workers import Gate, Workers

MIN_IOU: Final = 0.9
"""Agreement asked of every golden mask: other hardware may move pixels at an edge, not objects."""

TIMEOUT_S: Final = 60.0


async def check_golden(backend: Backend, workers: Workers, model: Model) -> str | None:
    """Segment the golden image and compare.

    Parameters
    ----------
    backend, workers : Backend, Workers
        Those that will serve; the run also warms them up.
    model : Model
        Which model; one without a golden image passes.

    Returns
    -------
    str or None
        What differed, or None when the answer is as expected.

    Raises
    ------
    BackendUnavailable, CapacityError, DeadlineExceeded
        If the answer did not come: that says nothing about the model.
    """
    golden = model.recipe.golden
    if golden is None:
        return None
    # Metrics and gate of its own: a self-test is no request.
    segmenter = Segmenter(backend, workers, Gate(slots=1, waiting=0), Metrics(), ImageLimits())
    asked = Asked(
        request_id="golden",
        deadline=Deadline.after(TIMEOUT_S),
        model=model.name,
        version=model.version,
    )
    try:
        reply = await segmenter.segment(base64.b64decode(golden.image_png_base64), asked, _no_body)
    except (BackendUnavailable, CapacityError, DeadlineExceeded):
        raise
    except DiscernError as error:
        return f"model {model.name}: the golden image was not answered: {error.detail}"
    return _difference(model, golden.instances, reply.result.segmentation.instances)


def _no_body(_: Result) -> bytes:
    return b""


def _difference(
    model: Model, expected: list[dict[str, Any]], found: tuple[Instance, ...]
) -> str | None:
    if len(expected) != len(found):
        return (
            f"model {model.name}: the golden image gave {len(found)} instances, "
            f"expected {len(expected)}"
        )
    masks = [decode(instance.rle) for instance in found]
    for number, instance in enumerate(expected, start=1):
        truth = decode(instance["segmentation"])
        best = max(_iou(truth, mask) for mask in masks)
        if best < MIN_IOU:
            return (
                f"model {model.name}: golden instance {number} was found with IoU {best:.2f}, "
                f"expected at least {MIN_IOU}"
            )
    return None


def _iou(first: Bool, second: Bool) -> float:
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 1.0
