"""One request on its way: what is asked, what the network saw, what was found, what goes out.

Axes: H W image, h w as the network sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from service.arrays import UInt8
from service.backends.base import Model
from service.domain import (
    FIRST_PAGE,
    TILE_PX,
    Deadline,
    DecodedImage,
    Plane,
    Prediction,
    Priority,
    Timings,
)
from service.postprocess.labelled import ExtractOptions
from service.postprocess.segmentation import Segmentation
from service.telemetry.clock import StageClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
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
    plane : Plane
        Which page and channel of the file.
    scale : float, optional
        By how much larger the network sees the image; None: by as much as suits it
        (`service.scale_search`).
    image_id : int
        What the caller calls the image, in formats that say so.
    keep : bool
        Whether `Reply.kept` is to hold what the network saw, where it saw the image whole.
    tile_px : int
        Longest side that goes through the network at once; a larger image is cut into tiles.
    headers : mapping of str to str
        Trace context to pass on.
    priority : Priority
        Whether somebody waits for the answer.
    clock : StageClock
        Keeps where the time goes, also for an image that fails; each has its own.
    """

    request_id: str
    deadline: Deadline
    model: str
    version: str | None = None
    options: ExtractOptions = field(default_factory=ExtractOptions)
    plane: Plane = FIRST_PAGE
    scale: float | None = 1.0
    image_id: int = 0
    keep: bool = False
    tile_px: int = TILE_PX
    headers: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.INTERACTIVE
    clock: StageClock = field(default_factory=lambda: StageClock("queue"))


@dataclass(frozen=True, slots=True)
class ScaledImage:
    """An image at the scale at which a network sees it, and what it saw there, if it has.

    Parameters
    ----------
    model : Model
        Whose network.
    image : DecodedImage
        The image.
    scale : float
        By how much larger the network sees it.
    pixels : (h, w, 3) uint8
        The image at that scale.
    prediction : Prediction, optional
        None before the network has seen it, and where it is too large to be seen whole.
    """

    model: Model
    image: DecodedImage
    scale: float
    pixels: UInt8
    prediction: Prediction | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that the network sees."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        seen = self.prediction
        maps = (seen.embedding, seen.foreground_logits, *seen.extras.values()) if seen else ()
        own = () if self.pixels is self.image.pixels else (self.pixels,)
        return sum(array.nbytes for array in (self.image.pixels, *own, *maps))

    def copy(self) -> ScaledImage:
        """Return the same in memory of its own, so that keeping it holds none of the backend's."""
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

    asked: Asked
    scaled: ScaledImage
    segmentation: Segmentation

    @property
    def model(self) -> Model:
        """What answers."""
        return self.scaled.model

    @property
    def image(self) -> DecodedImage:
        """What was segmented."""
        return self.scaled.image


Render = Callable[[Result], bytes]
"""Writes a result in the format that was asked for; runs on a worker thread."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A result, its rendering, what each stage took, and what was to be kept."""

    result: Result
    body: bytes
    timings: Timings
    kept: ScaledImage | None = None
