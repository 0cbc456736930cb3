"""Settings of the data: where images come from, and how training crops are varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from training.config.checks import require

DataKind = Literal["folder", "sticks", "nuclei"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where images come from.

    Parameters
    ----------
    kind : DataKind
        ``folder`` reads files, the others draw their images.
    train, val : str
        Names of the split lists (without ``.txt``) in the data folder.
    labels : tuple of str
        Label folders; the first that holds an image's mask gives it.
    image_size : int
        Side in pixels of the drawn images.
    val_images : int
        How many drawn images validate.
    min_objects, max_objects : int
        Range of the number of objects in a drawn image.
    """

    kind: DataKind = "folder"
    train: str = "train"
    val: str = "val"
    labels: tuple[str, ...] = ("labels",)
    image_size: int = 256
    val_images: int = 32
    min_objects: int = 4
    max_objects: int = 12

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.kind in get_args(DataKind), f"data.kind: {self.kind!r} is not known")
        require(bool(self.labels), "data.labels: at least one folder is needed")
        require(0 <= self.min_objects <= self.max_objects, "data.min_objects: above max_objects")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How training crops are varied. Probabilities are per crop.

    Parameters
    ----------
    crop : int
        Side of the square crops in pixels.
    instance_crop : float
        Probability that a crop is centred near an instance rather than anywhere.
    scale : float
        Crops are magnified by a factor in [1 / scale, scale], log-uniform.
    warp : float
        Probability of a change of scale, free rotation and elastic bending; flips and quarter
        turns, which lose no sharpness, happen always.
    elastic_px : float
        Standard deviation of the elastic bending.
    intensity : float
        Probability of each change of gamma, illumination, blur and noise.
    calm_after : float
        Fraction of the run from which nothing is warped any more: outlines as sharp as those of
        the images to come.
    """

    crop: int = 256
    instance_crop: float = 0.5
    scale: float = 1.4
    warp: float = 0.5
    elastic_px: float = 2.0
    intensity: float = 0.3
    calm_after: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.crop >= 32, f"augment.crop: {self.crop} is below 32")
        require(self.scale >= 1, f"augment.scale: {self.scale} is below 1")
