"""Position channels, as a part of the network: in its graph, the same for training and serving."""

from __future__ import annotations

import torch
from torch import Tensor

_PERIODS_PX = (16.0, 64.0)
"""Wavelengths of the periodic position channels."""


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
