"""Settings of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from training.config.checks import require

Coordinates = Literal["none", "linear", "periodic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The network.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level; each level halves the resolution.
    stem : int
        Blocks of ``stem x stem`` pixels are folded into channels before the first level.
    embedding_size : int
        E.
    embedding_stride : int
        Pixels per embedding vector along each axis; divides `stem`.
    coordinates : Coordinates
        Position channels given to the network: ``linear`` in [-1, 1] over the image (the paper's),
        ``periodic`` sines of the pixel index, which neither padding nor tiling changes.
    position_px : float
        When above 0, the pixel's own position divided by this is added to the first two embedding
        dimensions (semi-convolutional: the network learns offsets, and far-apart objects differ
        by construction).
    """

    widths: tuple[int, ...] = (32, 48, 64, 96, 128)
    stem: int = 2
    embedding_size: int = 8
    embedding_stride: int = 1
    coordinates: Coordinates = "linear"
    position_px: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        require(len(self.widths) >= 2, "model.widths: at least two levels are needed")
        require(self.stem >= 1, "model.stem: must be 1 or more")
        require(
            self.embedding_stride >= 1 and self.stem % self.embedding_stride == 0,
            f"model.embedding_stride: {self.embedding_stride} does not divide stem {self.stem}",
        )
        require(
            self.coordinates in get_args(Coordinates),
            f"model.coordinates: {self.coordinates!r} is not known",
        )
        require(self.embedding_size >= 1, "model.embedding_size: must be 1 or more")
        require(
            self.position_px == 0 or self.embedding_size >= 2,
            "model.position_px: needs an embedding of two dimensions or more",
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return int(self.stem * 2 ** (len(self.widths) - 1))
