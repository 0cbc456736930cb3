"""Settings of the data: where images come from, and how training crops are varied."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.config.checks import STRICT, Count, NotNegative, Share, Whole, require

DataKind = Literal["folder", "kaggle", "cvppp", "cityscapes", "coco", "sticks", "nuclei"]

CLASSED: Final = ("cityscapes", "coco")
"""Kinds whose files say of which class an instance is."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DataConfig:
    """Where images come from.

    Parameters
    ----------
    kind : DataKind
        ``sticks`` and ``nuclei`` draw their images, the others are layouts of files
        (`training.data.opening`).
    train, val : str
        Names of the splits: lists ``<split>.txt`` in the data folder, or what the layout calls
        them. An empty `val` validates nothing, and keeps the end of the run.
    labels : tuple of str
        Label folders; the first that holds an image's mask gives it.
    classes : tuple of str
        Names of the data set's categories that are told apart, in the order of the foreground
        maps; empty: every instance is of one class. Several need a kind of `CLASSED`.
    resize : tuple of int
        Height and width that images and labels are brought to; empty: as they are.
    allow_empty : bool
        Take images without an instance: learn that there is nothing, and count what is found as
        wrong. Otherwise ``coco`` judges them alone, and other files without one count as broken.
    val_share : float
        Part of the images that validates where a data set comes without split lists.
    image_size : int
        Side in pixels of the drawn images.
    val_images : int
        How many drawn images validate.
    min_objects, max_objects : int
        Range of the number of objects in a drawn image.
    drawn : int
        Generated fields of nuclei that join the training images of ``folder``.
    """

    kind: DataKind = "folder"
    train: Annotated[str, Field(min_length=1)] = "train"
    val: str = "val"
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = ("labels",)
    classes: tuple[str, ...] = ()
    resize: tuple[Count, ...] = ()
    allow_empty: bool = False
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    image_size: Count = 256
    val_images: Count = 32
    min_objects: Whole = 4
    max_objects: Whole = 12
    drawn: Whole = 0

    def __post_init__(self) -> None:
        """Check what no type says."""
        require(len(self.resize) in (0, 2), "data.resize: must be [height, width]")
        require(len(set(self.classes)) == len(self.classes), "data.classes: a name stands twice")
        require(
            len(self.classes) < 2 or self.kind in CLASSED,
            f"data.classes: {self.kind!r} tells no classes apart, as {' and '.join(CLASSED)} do; "
            "must be one name or none",
        )
        require(self.min_objects <= self.max_objects, "data.min_objects: above max_objects")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AugmentConfig:
    """How training crops are varied. Probabilities are per crop.

    Parameters
    ----------
    crop : int
        Height of the crops in pixels; width too, unless `crop_width` is set.
    crop_width : int
        Width of the crops in pixels; 0: they are square.
    turn : bool
        Crops are turned by quarters, or by any angle where they are warped; else up stays up, and
        they are only flipped left to right.
    instance_crop : float
        Probability that a crop is centred near an instance rather than anywhere.
    scale : float
        Crops are magnified by a factor in [1 / scale, scale], log-uniform.
    warp : float
        Probability of a change of scale, free rotation and elastic bending; flips and quarter
        turns, which lose no sharpness, always have their chance.
    elastic_px : float
        Standard deviation of the elastic bending.
    intensity : float
        Probability of each change of gamma, illumination, blur and noise.
    degrade : float
        Probability of noise, shade, marks and the like, far stronger than `intensity`
        (`training.data.degradations`).
    calm_after : float
        Fraction of the run from which nothing is warped any more: outlines as sharp as those of
        the images to come.
    """

    crop: Annotated[int, Field(ge=32)] = 256
    crop_width: Whole = 0
    turn: bool = True
    instance_crop: Share = 0.5
    scale: Annotated[float, Field(ge=1)] = 1.4
    warp: Share = 0.5
    elastic_px: NotNegative = 2.0
    intensity: Share = 0.3
    degrade: Share = 0.0
    calm_after: Share = 1.0

    def __post_init__(self) -> None:
        """Refuse crops that do not fit themselves when turned."""
        require(
            self.width == self.crop or not self.turn,
            "augment.crop_width: a crop that is turned must be square; set augment.turn = false",
        )

    @property
    def width(self) -> int:
        """Width of the crops in pixels."""
        return self.crop_width or self.crop
