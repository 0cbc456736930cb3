"""A compact U-Net that works on folded pixels: full-resolution maps at a quarter of the cost."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.domain import Method
from training.config.model import ModelConfig
from training.models.blocks import conv_block, doubled
from training.models.network import PixelNetwork
from training.models.style import Style


class UNet(PixelNetwork):
    """Two convolutions a level, skips by concatenation.

    Parameters
    ----------
    config : ModelConfig
        ``widths`` are the channels of each level; ``stem`` is the side of the folded blocks;
        ``style`` shifts the maps on the way up by what the image is like.
    method : Method
        Decides the heads.
    classes : int
        Foreground maps.

    References
    ----------
    Ronneberger, Fischer, Brox 2015 (arXiv:1505.04597).
    """

    def __init__(
        self, config: ModelConfig, *, method: Method = "discriminative", classes: int = 1
    ) -> None:
        super().__init__(config, method)
        widths = config.widths
        channels = self.channels * config.stem**2
        self.down = nn.ModuleList()
        for width in widths:
            self.down.append(nn.Sequential(conv_block(channels, width), conv_block(width, width)))
            channels = width
        self.reduce, self.up = nn.ModuleList(), nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.reduce.append(nn.Conv2d(below, width, 1))
            self.up.append(nn.Sequential(conv_block(2 * width, width), conv_block(width, width)))
        self.style = Style(widths, widths[-2::-1]) if config.style else None
        self.add_heads(widths[0], classes)

    def parts(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Tell them: all levels but the first may be wider; those on the way up read two maps."""
        inputs = shapes[name][1] if len(shapes[name]) > 1 else 1
        match name.split("."):
            case ["up", _, "0", "0", "weight"]:
                return (inputs // 2, inputs // 2)
            case ["style", "squeeze", "weight"]:
                levels = (f"down.{level}.0.0.weight" for level in range(len(self.down)))
                return tuple(shapes[level][0] for level in levels)
            case ["up" | "reduce", *_] | ["style", "shifts", *_]:
                return (inputs,)
            case ["down", level, *_] if level != "0":
                return (inputs,)
            case _:
                return ()

    def begins_neutral(self, name: str) -> bool:
        """Tell: the style changes nothing at first."""
        return name.startswith("style.")

    def features(self, image: Tensor) -> Tensor:
        """Run the trunk on (N, channels, H, W)."""
        x = functional.pixel_unshuffle(image, self.config.stem)
        x = x.contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        shifts = [None] * len(self.up) if self.style is None else self.style(skips)
        for reduce, up, skip, shift in zip(
            self.reduce, self.up, skips[-2::-1], shifts, strict=True
        ):
            x = doubled(reduce(x))
            x = up(torch.cat([x, skip], dim=1))
            x = x if shift is None else x + shift
        return x
