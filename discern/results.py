"""What a server found in an image, typed; masks are drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from discern.rle import decode, draw_labels


class Settings(TypedDict, total=False):
    """What may be asked of a segmentation; what is left out is as the model says."""

    model: str
    version: str
    page: int
    channel: int
    scale: float | Literal["auto"]
    bandwidth: float
    foreground_threshold: float
    min_area: int
    min_score: float
    max_instances: int
    classes: Sequence[int]
    image_id: int


def query_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Write settings as query parameters."""
    return {
        name: ",".join(map(str, value)) if name == "classes" else str(value)
        for name, value in settings.items()
        if value is not None
    }


@dataclass(frozen=True)
class Instance:
    """One object.

    Parameters
    ----------
    id : int
        1..K, best score first; its value in `Found.labels`.
    category, category_id : str, int
        Its class.
    score : float
        In [0, 1].
    area : int
        Pixels.
    bbox : (x, y, width, height)
        In pixels.
    centroid : (x, y)
        In pixels.
    rle : mapping
        ``size`` and ``counts``, as pycocotools reads them.
    """

    id: int
    category: str
    category_id: int
    score: float
    area: int
    bbox: tuple[int, int, int, int]
    centroid: tuple[float, float]
    rle: Mapping[str, Any] = field(repr=False)

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The mask, (H, W) bool; drawn when first asked for."""
        return decode(self.rle["size"], self.rle["counts"])


@dataclass(frozen=True)
class Found:
    """The answer for one image.

    Parameters
    ----------
    request_id : str
        The server's name of the request.
    model, version, method : str
        What answered.
    height, width : int
        Of the upright image.
    instances : tuple of Instance
        Best score first.
    timings_ms : mapping
        Milliseconds by stage, and ``total``.
    image : mapping
        What the server says of the image: format, bits, orientation.
    embedding : str or None
        Id to cluster again with, when it was asked to keep what the network saw.
    """

    request_id: str
    model: str
    version: str
    method: str
    height: int
    width: int
    instances: tuple[Instance, ...]
    timings_ms: Mapping[str, float] = field(repr=False)
    image: Mapping[str, Any] = field(repr=False)
    embedding: str | None = None

    @cached_property
    def labels(self) -> npt.NDArray[np.int32]:
        """The label image, (H, W) int32: 0 background, else `Instance.id`."""
        return draw_labels(
            (self.height, self.width), ((instance.id, instance.rle) for instance in self.instances)
        )

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any], embedding: str | None = None) -> Found:
        """Read the JSON answer of ``POST /segment``."""
        model, image = answer["model"], answer["image"]
        return cls(
            request_id=answer["request_id"],
            model=model["name"],
            version=model["version"],
            method=model["method"],
            height=image["height"],
            width=image["width"],
            instances=tuple(
                Instance(
                    id=item["id"],
                    category=item["category"]["name"],
                    category_id=item["category"]["id"],
                    score=item["score"],
                    area=item["area"],
                    bbox=tuple(item["bbox"]),
                    centroid=tuple(item["centroid"]),
                    rle=item["segmentation"],
                )
                for item in answer["instances"]
            ),
            timings_ms=answer["timings_ms"],
            image=image,
            embedding=embedding,
        )
