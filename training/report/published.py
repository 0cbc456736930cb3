"""What others report on the same images, to stand beside our results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Published:
    """One published row.

    Parameters
    ----------
    name : str
        The method.
    ap : mapping of str to float
        TP / (TP + FP + FN), mean over images, by IoU threshold.
    mean_ap : float, optional
        Mean over 0.5 to 0.9, where it is reported.
    """

    name: str
    ap: Mapping[str, float]
    mean_ap: float | None = None


def _row(name: str, low: float, mid: float, high: float, mean: float | None = None) -> Published:
    return Published(name, MappingProxyType({"0.5": low, "0.7": mid, "0.9": high}), mean)


PUBLISHED: Mapping[str, tuple[Published, ...]] = MappingProxyType(
    {
        "stardist_test": (
            _row("StarDist", 0.864, 0.685, 0.119),
            _row("Mask R-CNN", 0.832, 0.684, 0.189),
            _row("Cellpose (public model)", 0.868, 0.755, 0.234),
            _row("Cellpose (trained on it)", 0.853, 0.768, 0.402),
            _row("Neven et al.", 0.873, 0.762, 0.373),
            _row("EmbedSeg", 0.876, 0.768, 0.399, 0.715),
        ),
        "usiigaci_test": (
            _row("Mask R-CNN", 0.583, 0.235, 0.0),
            _row("StarDist", 0.510, 0.143, 0.0),
            _row("EmbedSeg", 0.704, 0.273, 0.0),
        ),
    }
)
"""By the title of an evaluation. As the authors of EmbedSeg report them (Lalit, Tomancak, Jug,
Medical Image Analysis, 2022)."""

REFERENCE = "EmbedSeg"
"""The row that ours are compared with in words."""
