"""Per-image normalisation and position channels, as parts of the network.

Living inside the graph they cannot differ between training and serving.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config.model import ModelConfig

_GRID = 64
"""The range of grey values is estimated on a grid of 64 x 64 pixels, whatever the image's size."""

_LOW, _HIGH = 0.01, 0.998
"""Quantiles that become 0 and 1; those of StarDist, robust to hot pixels."""

_PERIODS_PX = (16.0, 64.0)
"""Wavelengths of the periodic position channels."""


class Normalise(nn.Module):
    """Map the robust range of each image's grey values to [0, 1]; colour ratios stay.

    Input and output are (N, 3, H, W) float32; the input lies in 0..255.

    Parameters
    ----------
    config : ModelConfig
        ``ground`` and ``least_contrast``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ground = config.ground
        self.least_contrast = config.least_contrast

    def forward(self, image: Tensor) -> Tensor:
        """Normalise each image by itself."""
        grey = image.mean(dim=1, keepdim=True)
        values = functional.interpolate(grey, size=(_GRID, _GRID), mode="nearest").flatten(1)
        ordered = torch.topk(values, _GRID * _GRID, dim=1).values  # (N, 4096), descending
        last = _GRID * _GRID - 1
        low = ordered[:, round((1 - _LOW) * last)].view(-1, 1, 1, 1)
        high = ordered[:, round((1 - _HIGH) * last)].view(-1, 1, 1, 1)
        span = (high - low).clamp_min(self.least_contrast)
        # The same wherever the span is the image's own.
        return (image - low) / span if self.ground == "dark" else 1 + (image - high) / span


def pixel_index(image: Tensor) -> tuple[Tensor, Tensor]:
    """Give the row and column of every pixel, (1, 1, H, W) float32 each."""
    ones = torch.ones_like(image[:1, :1], dtype=torch.float32)
    return ones.cumsum(2) - 1, ones.cumsum(3) - 1


def linear_coordinates(image: Tensor) -> Tensor:
    """Give (N, 2, H, W): row and column in [-1, 1] over the image, as arXiv:1708.02551 does."""
    row, column = pixel_index(image)
    last_row = (row.amax(dim=(2, 3), keepdim=True)).clamp_min(1)
    last_column = (column.amax(dim=(2, 3), keepdim=True)).clamp_min(1)
    both = torch.cat([2 * row / last_row - 1, 2 * column / last_column - 1], dim=1)
    return both.expand(image.shape[0], -1, -1, -1)


def periodic_coordinates(image: Tensor) -> Tensor:
    """Give (N, 8, H, W): sines and cosines of the pixel index, blind to padding and tiling."""
    waves = [
        wave(index * (2 * torch.pi / period))
        for period in _PERIODS_PX
        for index in pixel_index(image)
        for wave in (torch.sin, torch.cos)
    ]
    return torch.cat(waves, dim=1).expand(image.shape[0], -1, -1, -1)


CHANNELS = {"none": 0, "linear": 2, "periodic": 4 * len(_PERIODS_PX)}
"""Position channels by name of the option."""


def with_coordinates(image: Tensor, kind: str) -> Tensor:
    """Append the position channels of that kind."""
    if kind == "linear":
        return torch.cat([image, linear_coordinates(image)], dim=1)
    if kind == "periodic":
        return torch.cat([image, periodic_coordinates(image)], dim=1)
    return image
