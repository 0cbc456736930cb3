"""What an image is like as a whole, for every level on the way up: how outlines are drawn differs.

Images of one source are annotated alike, some along the brightest rim, some well outside it, and
no neighbourhood of a pixel tells which.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 128


class Style(nn.Module):
    """Mean features of all levels, of length one, to a shift of the channels of each level.

    Begins with shifts of zero: a network that is fine-tuned answers as before at first.

    Parameters
    ----------
    levels : sequence of int
        Channels of the maps that are averaged.
    shifted : sequence of int
        Channels of the maps that are shifted.

    References
    ----------
    The style vector of Cellpose, Stringer et al. 2021 (doi:10.1038/s41592-020-01018-x), of all
    levels instead of the deepest: noise and sharpness show in the first.
    """

    def __init__(self, levels: Sequence[int], shifted: Sequence[int]) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(sum(levels), HIDDEN, 1)
        self.shifts = nn.ModuleList(nn.Conv2d(HIDDEN, channels, 1) for channels in shifted)
        for parameter in self.shifts.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Give a shift (N, channels, 1, 1) for each level, from maps (N, channels, h, w)."""
        # As pooling: ONNX Runtime then leaves the maps in the layout that its convolutions use.
        pooled = [functional.adaptive_avg_pool2d(level, 1) for level in maps]
        means = torch.cat(pooled, dim=1).float()
        size = means.square().mean(1, keepdim=True).sqrt()
        hidden = torch.relu(self.squeeze(means / (size + 1e-6)))
        return [shift(hidden) for shift in self.shifts]
