"""What the losses compare with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Targets:
    """Ground truth of a batch.

    Parameters
    ----------
    labels : (B, H, W) int64
        0 background, 1..K instances, negative: ignore. Ids need not be consecutive.
    classes : (B, H, W) int64, optional
        0 background, 1..C the class of the instance there; absent when there is one class.
    """

    labels: Tensor
    classes: Tensor | None = None

    def of_class(self, index: int) -> Tensor:
        """Return the labels of one class; other classes count as background there.

        Parameters
        ----------
        index : int
            0-based class.
        """
        if self.classes is None:
            return self.labels
        other = (self.labels > 0) & (self.classes != index + 1)
        return self.labels.masked_fill(other, 0)


def at_size(labels: Tensor, height: int, width: int) -> Tensor:
    """Bring labels to the size of an output by nearest neighbour.

    Parameters
    ----------
    labels : (B, H, W) int64
        Labels at image size.
    height, width : int
        Size wanted.
    """
    if labels.shape[1:] == (height, width):
        return labels
    resized = functional.interpolate(
        labels[:, None].to(torch.float64), size=(height, width), mode="nearest-exact"
    )
    return resized[:, 0].to(torch.int64)
