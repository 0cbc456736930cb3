"""Settings of the network."""

from __future__ import annotations

from typing import Final, Literal

from pydantic.dataclasses import dataclass

from training.config.checks import STRICT, Count, NotNegative, Positive, Whole, require

Coordinates = Literal["none", "linear", "periodic"]
Ground = Literal["dark", "bright"]
NetworkName = Literal["unet", "enet", "erfnet", "fpn"]

WIDTHS: Final[dict[str, tuple[int, ...]]] = {
    "unet": (32, 48, 64, 96, 128),
    "enet": (16, 64, 128),
    "erfnet": (16, 64, 128),
    "fpn": (64, 128, 256, 512),
}
"""Channels of each level; those of the papers, where there is one."""

STEMS: Final = {"unet": 2, "enet": 2, "erfnet": 2, "fpn": 4}
"""Pixels per feature along each axis, where the heads begin; only the U-Net takes another."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ModelConfig:
    """The network.

    Parameters
    ----------
    network : NetworkName
        ``unet`` works on folded pixels, with skips by concatenation; ``enet`` is the fast network
        of the discriminative loss's paper, ``erfnet`` its larger sibling; ``fpn`` is a residual
        encoder, which can begin with weights from elsewhere (`Config.start`), with a
        feature-pyramid decoder.
    widths : tuple of int
        Channels of each level; each level halves the resolution. Empty: `WIDTHS`.
    blocks : tuple of int
        Residual blocks of each level of ``fpn``: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34.
    stem : int
        Pixels per feature along each axis, which the heads unfold; ``unet`` folds blocks of
        ``stem x stem`` pixels into channels before its first level. 0: `STEMS`.
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
    style : bool
        ``unet`` only: shift the maps on the way up by a vector of what the image is like as a whole
        (`training.models.style`).
    ground : Ground
        What an image is where it holds nothing, ``dark`` or ``bright``: without contrast it is all
        0 or all 1 to the network, as the ground beside objects is.
    least_contrast : float
        Grey levels that are spread over 0 to 1 at the least, so that noise is not blown up.
    """

    network: NetworkName = "unet"
    widths: tuple[Count, ...] = ()
    blocks: tuple[Count, ...] = (2, 2, 2, 2)
    stem: Whole = 0
    embedding_size: Count = 8
    embedding_stride: Count = 1
    coordinates: Coordinates = "linear"
    position_px: NotNegative = 0.0
    style: bool = False
    ground: Ground = "dark"
    least_contrast: Positive = 4.0

    def __post_init__(self) -> None:
        """Fill in what the network decides, and check what no type says."""
        # The one way in which a frozen dataclass completes itself; the saved copy says it all.
        object.__setattr__(self, "widths", self.widths or WIDTHS[self.network])
        object.__setattr__(self, "stem", self.stem or STEMS[self.network])
        self._check_levels()
        require(
            self.network == "unet" or not self.style,
            f"model.style: {self.network} has no such part",
        )
        require(
            self.stem % self.embedding_stride == 0,
            f"model.embedding_stride: {self.embedding_stride} does not divide stem {self.stem}",
        )
        require(
            self.position_px == 0 or self.embedding_size >= 2,
            "model.position_px: needs an embedding of two dimensions or more",
        )

    def _check_levels(self) -> None:
        require(len(self.widths) >= 2, "model.widths: at least two levels are needed")
        if self.network == "unet":
            return
        own = STEMS[self.network]
        require(self.stem == own, f"model.stem: {self.network} has {own}, not {self.stem}")
        if self.network == "fpn":
            require(
                len(self.blocks) == len(self.widths),
                f"model.blocks: {len(self.widths)} are needed, as many as model.widths, "
                f"not {list(self.blocks)}",
            )
        else:
            require(
                len(self.widths) == 3 and self.widths[0] > 3,
                f"model.widths: {self.network} takes three, the first above 3 "
                f"(the paper's are {list(WIDTHS[self.network])}), not {list(self.widths)}",
            )

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return int(self.stem * 2 ** (len(self.widths) - 1))
