"""Output heads: from trunk features to embedding and foreground maps."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from service import signature
from service.domain import Method
from service.postprocess.metric_learning import TAUS
from training.models.blocks import conv_block
from training.models.coordinates import pixel_index


class Head(nn.Module):
    """A block and a 1 x 1 convolution, then channels unfold into pixels.

    Nothing bends what the convolution gives: vectors may lie anywhere, and foreground is logits.
    The offsets of `spatial` alone go through a tanh, in `training.models.network`.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    upscale : int
        Each feature pixel unfolds into ``upscale x upscale`` output pixels.
    """

    def __init__(self, inputs: int, outputs: int, *, upscale: int) -> None:
        super().__init__()
        self.block = conv_block(inputs, inputs)
        self.project = nn.Conv2d(inputs, outputs * upscale**2, 1)
        self.upscale = upscale

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to float32 (N, outputs, h * upscale, w * upscale)."""
        return functional.pixel_shuffle(self.project(self.block(features)).float(), self.upscale)


FIRST_SIGMA = 0.4
"""Where `spatial` starts: ``exp(10 * 0.4)`` on squared offsets reaches a radius of 7 px in units
of 64 px, about that of a nucleus."""


def extra_heads(method: Method, *, inputs: int, classes: int, upscale: int) -> nn.ModuleDict:
    """Build the heads that a method needs beyond embedding and foreground, by tensor name."""
    heads = nn.ModuleDict()
    if method == "metric_learning":
        heads[signature.SEEDINESS] = Head(inputs, len(TAUS), upscale=upscale)
    if method == "spatial":
        heads[signature.SEEDINESS] = Head(inputs, classes, upscale=upscale)
        sigma = Head(inputs, 2, upscale=upscale)
        nn.init.zeros_(sigma.project.weight)
        nn.init.constant_(cast(Tensor, sigma.project.bias), FIRST_SIGMA)
        heads[signature.SIGMA] = sigma
    return heads


def add_position(embedding: Tensor, *, position_px: float, stride: int) -> Tensor:
    """Add each pixel's row and column, in units of `position_px`, to the first two dimensions.

    Parameters
    ----------
    embedding : (N, E, h, w)
        What the head gave: offsets, in its first two dimensions.
    position_px : float
        Pixels per unit of the embedding.
    stride : int
        Pixels per embedding vector.

    References
    ----------
    Semi-convolutional operators, Novotny et al. 2018.
    """
    row, column = pixel_index(embedding)
    # The middle of the block of pixels that one vector stands for.
    offset, unit = (stride - 1) / 2, stride / position_px
    position = torch.cat([row, column], dim=1) * unit + offset / position_px
    return torch.cat([embedding[:, :2] + position, embedding[:, 2:]], dim=1)
