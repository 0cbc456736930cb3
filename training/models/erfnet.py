"""ERFNet: residual blocks of one-dimensional convolutions, dilated for context.

Romera et al. 2018, "ERFNet: Efficient Residual Factorized ConvNet for Real-time Semantic
Segmentation", IEEE T-ITS 19(1). Its last transposed convolution, to the classes, is what the heads
do, and the pooled half of a downsampler is not normalised, so that the other half folds.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.domain import Method
from training.config.model import ModelConfig
from training.models.blocks import conv, conv_norm, double_norm
from training.models.network import PixelNetwork

_DILATIONS: Final = (2, 4, 8, 16)


class ERFNet(PixelNetwork):
    """Encoder of 13 blocks, decoder of 4.

    Parameters
    ----------
    config : ModelConfig
        ``widths``: channels at 1/2, 1/4 and 1/8 of the resolution.
    method : Method
        Decides the heads.
    classes : int
        Foreground maps.
    """

    def __init__(
        self, config: ModelConfig, *, method: Method = "discriminative", classes: int = 1
    ) -> None:
        super().__init__(config, method)
        fine, middle, coarse = config.widths
        self.encoder = nn.Sequential(
            Downsample(self.channels, fine),
            Downsample(fine, middle),
            *(Block(middle, dropout=0.03) for _ in range(5)),
            Downsample(middle, coarse),
            *(Block(coarse, dilation=dilation, dropout=0.3) for dilation in 2 * _DILATIONS),
        )
        self.decoder = nn.Sequential(
            nn.Sequential(*double_norm(coarse, middle), nn.ReLU(inplace=True)),
            *(Block(middle) for _ in range(2)),
            nn.Sequential(*double_norm(middle, fine), nn.ReLU(inplace=True)),
            *(Block(fine) for _ in range(2)),
        )
        self.add_heads(fine, classes)

    def features(self, image: Tensor) -> Tensor:
        """Run the trunk on (N, channels, H, W)."""
        image = image.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.decoder(self.encoder(image))
        return features


class Block(nn.Module):
    """Two factorised 3 x 3 convolutions, the second dilated; added to what came in.

    Parameters
    ----------
    width : int
        Channels.
    dilation : int
        Of the second pair.
    dropout : float
        Probability that a whole map of the branch is left out.
    """

    def __init__(self, width: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv(width, width, (3, 1)),
            nn.ReLU(inplace=True),
            nn.Sequential(*conv_norm(width, width, (1, 3)), nn.ReLU(inplace=True)),
            conv(width, width, (3, 1), dilation=(dilation, 1)),
            nn.ReLU(inplace=True),
            conv_norm(width, width, (1, 3), dilation=(1, dilation)),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, h, w) to the same."""
        return functional.relu(x + self.branch(x))


class Downsample(nn.Module):
    """Half the size: a convolution gives the new channels, a pool keeps the old ones."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kept = min(inputs, outputs - 1)
        self.convolution = conv_norm(inputs, outputs - self.kept, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / 2, w / 2)."""
        pooled = functional.max_pool2d(x[:, : self.kept], 2)
        return functional.relu(torch.cat([self.convolution(x), pooled], dim=1))
