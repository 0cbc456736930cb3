"""A residual encoder with a feature-pyramid decoder: the encoder can begin with known weights.

The encoder is ResNet-18 or -34 (He et al. 2016, arXiv:1512.03385; the widths and blocks of the
configuration decide), the decoder the top-down path of Lin et al. 2017 (arXiv:1612.03144), read at
its finest level.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.domain import Method
from training.config.model import ModelConfig
from training.models.blocks import conv_norm, doubled
from training.models.network import PixelNetwork


class FPN(PixelNetwork):
    """Residual encoder, feature pyramid.

    Parameters
    ----------
    config : ModelConfig
        ``widths`` and ``blocks`` of the encoder's levels, the first at a quarter of the resolution.
    method : Method
        Decides the heads.
    classes : int
        Foreground maps.
    """

    def __init__(
        self, config: ModelConfig, *, method: Method = "discriminative", classes: int = 1
    ) -> None:
        super().__init__(config, method)
        widths = config.widths
        self.encoder = ResNet(self.channels, widths, config.blocks)
        self.lateral = nn.ModuleList(conv_norm(width, widths[0], 1) for width in widths)
        self.smooth = conv_norm(widths[0], widths[0])
        self.add_heads(widths[0], classes)

    def features(self, image: Tensor) -> Tensor:
        """Run the trunk on (N, channels, H, W)."""
        levels = self.encoder(image.contiguous(memory_format=torch.channels_last))
        *finer, coarsest = (
            lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)
        )
        x: Tensor = coarsest
        for level in reversed(finer):
            x = level + doubled(x)
        return functional.relu(self.smooth(x))


class ResNet(nn.Module):
    """Levels at 1/4, 1/8, ... of the resolution.

    Parameters
    ----------
    channels : int
        Of the input.
    widths, blocks : tuple of int
        Channels and number of blocks of each level.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = conv_norm(channels, widths[0], 7, stride=2)
        self.levels = nn.ModuleList()
        for index, ((before, width), count) in enumerate(
            zip(pairwise((widths[0], *widths)), blocks, strict=True)
        ):
            first = Block(before, width, stride=1 if index == 0 else 2)
            rest = (Block(width, width) for _ in range(count - 1))
            self.levels.append(nn.Sequential(first, *rest))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (N, channels, H, W) to one (N, width, h, w) per level, finest first."""
        x = functional.max_pool2d(functional.relu(self.stem(image)), 3, stride=2, padding=1)
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found


class Block(nn.Module):
    """Two 3 x 3 convolutions, added to what came in."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_norm(inputs, outputs, stride=stride)
        self.second = conv_norm(outputs, outputs)
        changed = stride > 1 or inputs != outputs
        self.shortcut = conv_norm(inputs, outputs, 1, stride=stride) if changed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        inner = self.second(functional.relu(self.first(x)))
        return functional.relu(inner + self.shortcut(x))
