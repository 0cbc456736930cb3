"""ENet: most of the work at an eighth of the resolution, in narrow bottlenecks.

Paszke et al. 2016 (arXiv:1606.02147), the network of the discriminative loss's paper. Two things
differ. Its decoder puts features back where the encoder's pools found their maxima; here the
features that were pooled are added instead: where two pixels are alike, which of them is the
maximum depends on the last bit, and an exported network would jump. Its last layer, a transposed
convolution to the classes, is what the heads do.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.domain import Method
from training.config.model import ModelConfig
from training.models.blocks import conv, conv_norm, double_norm, doubled
from training.models.network import PixelNetwork

_PROJECTION: Final = 4
"""Bottlenecks compute in a quarter of their channels."""

_CONTEXT: Final = ("regular", 2, "asymmetric", 4, "regular", 8, "asymmetric", 16)
"""Bottlenecks of stages 2 and 3; numbers are dilations."""


class ENet(PixelNetwork):
    """Encoder of 22 bottlenecks, decoder of 5.

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
        self.initial = conv_norm(self.channels, fine - 3, stride=2)
        self.initial_slope = nn.PReLU(fine)
        self.stage1 = nn.Sequential(
            Bottleneck(fine, middle, "down", dropout=0.01),
            *(Bottleneck(middle, middle, "regular", dropout=0.01) for _ in range(4)),
        )
        self.stage2 = nn.Sequential(
            Bottleneck(middle, coarse, "down", dropout=0.1),
            *(Bottleneck(coarse, coarse, kind, dropout=0.1) for kind in 2 * _CONTEXT),
        )
        self.up4 = Upsample(coarse, middle)
        self.stage4 = nn.Sequential(*(_decoding(middle) for _ in range(2)))
        self.up5 = Upsample(middle, fine)
        self.stage5 = _decoding(fine)
        self.add_heads(fine, classes)

    def features(self, image: Tensor) -> Tensor:
        """Run the trunk on (N, channels, H, W)."""
        image = image.contiguous(memory_format=torch.channels_last)
        pooled = functional.max_pool2d(image[:, :3], 2)
        half = self.initial_slope(torch.cat([self.initial(image), pooled], dim=1))
        quarter = self.stage1(half)
        x = self.stage2(quarter)
        x = self.stage4(self.up4(x, quarter))
        features: Tensor = self.stage5(self.up5(x, half))
        return features


class Bottleneck(nn.Module):
    """Project, convolve, expand; added to what came in.

    Parameters
    ----------
    inputs, outputs : int
        Channels; they differ in ``down`` alone, which pads what came in with zeros.
    kind : str or int
        ``regular``, ``asymmetric`` (5 x 1, 1 x 5), ``down`` (half the size), or a dilation.
    dropout : float
        Probability that a whole map of the branch is left out.
    relu : bool
        ReLU for PReLU, as in the decoder.
    """

    def __init__(
        self, inputs: int, outputs: int, kind: str | int, *, dropout: float, relu: bool = False
    ) -> None:
        super().__init__()
        inner = max(outputs // _PROJECTION, 1)
        self.down = kind == "down"
        self.missing = outputs - inputs
        first = conv_norm(inputs, inner, 2, stride=2) if self.down else conv_norm(inputs, inner, 1)
        self.branch = nn.Sequential(
            nn.Sequential(*first, _slope(inner, relu=relu)),
            _middle(inner, kind, relu=relu),
            conv_norm(inner, outputs, 1),
            nn.Dropout2d(dropout),
        )
        self.slope = _slope(outputs, relu=relu)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h, w), or half of h and w."""
        main = x
        if self.down:
            main = functional.pad(functional.max_pool2d(x, 2), (0, 0, 0, 0, 0, self.missing))
        slope: Tensor = self.slope(main + self.branch(x))
        return slope


class Upsample(nn.Module):
    """A bottleneck that doubles the size, and adds the encoder's features of that size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = max(outputs // _PROJECTION, 1)
        self.main = conv_norm(inputs, outputs, 1)
        self.branch = nn.Sequential(
            nn.Sequential(*conv_norm(inputs, inner, 1), nn.ReLU(inplace=True)),
            nn.Sequential(*double_norm(inner, inner), nn.ReLU(inplace=True)),
            conv_norm(inner, outputs, 1),
            nn.Dropout2d(0.1),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (N, inputs, h, w) and (N, outputs, 2h, 2w) to (N, outputs, 2h, 2w)."""
        main = doubled(self.main(x))
        return functional.relu(main + self.branch(x) + skip)


def _decoding(width: int) -> Bottleneck:
    return Bottleneck(width, width, "regular", dropout=0.1, relu=True)


def _middle(inner: int, kind: str | int, *, relu: bool) -> nn.Sequential:
    slope = _slope(inner, relu=relu)
    if kind == "asymmetric":
        last = nn.Sequential(*conv_norm(inner, inner, (1, 5)), slope)
        return nn.Sequential(conv(inner, inner, (5, 1)), last)
    dilation = kind if isinstance(kind, int) else 1
    return nn.Sequential(*conv_norm(inner, inner, dilation=dilation), slope)


def _slope(channels: int, *, relu: bool) -> nn.Module:
    return nn.ReLU(inplace=True) if relu else nn.PReLU(channels)
