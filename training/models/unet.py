"""A compact U-Net that works on folded pixels: full-resolution maps at a quarter of the cost."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from service import signature
from service.domain import Method
from training.config.model import ModelConfig
from training.models.heads import Head, add_position, conv_block, extra_heads
from training.models.normalise import CHANNELS, Normalise, with_coordinates


class UNet(nn.Module):
    """Image in 0..255 to embedding and foreground logits.

    Parameters
    ----------
    config : ModelConfig
        Widths, stem, embedding.
    method : Method
        Decides which outputs there are beyond embedding and foreground.
    classes : int
        Foreground maps.
    """

    def __init__(
        self, config: ModelConfig, *, method: Method = "discriminative", classes: int = 1
    ) -> None:
        super().__init__()
        self.config = config
        self.method = method
        widths = config.widths
        channels = (3 + CHANNELS[config.coordinates]) * config.stem**2
        self.normalise = Normalise()
        self.down = nn.ModuleList()
        for width in widths:
            self.down.append(nn.Sequential(conv_block(channels, width), conv_block(width, width)))
            channels = width
        self.reduce, self.up = nn.ModuleList(), nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.reduce.append(nn.Conv2d(below, width, 1))
            self.up.append(nn.Sequential(conv_block(2 * width, width), conv_block(width, width)))
        self.embedding = Head(
            widths[0], config.embedding_size, upscale=config.stem // config.embedding_stride
        )
        self.foreground = Head(widths[0], classes, upscale=config.stem)
        self.extras = extra_heads(
            method,
            inputs=widths[0],
            classes=classes,
            upscale=config.stem // config.embedding_stride,
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Run the network.

        Parameters
        ----------
        image : (N, 3, H, W) float32
            RGB in 0..255; H and W are multiples of ``config.size_multiple``.

        Returns
        -------
        dict
            ``embedding`` (N, E, h, w), ``foreground`` (N, C, H, W) logits and what the method
            adds (`service.signature`), float32.
        """
        features = self._trunk(image)
        embedding = self.embedding(features)
        if self.config.position_px > 0:
            embedding = add_position(
                embedding,
                position_px=self.config.position_px,
                stride=self.config.embedding_stride,
            )
        if self.method == "spatial":
            embedding = torch.tanh(embedding)
        outputs = {signature.EMBEDDING: embedding, signature.FOREGROUND: self.foreground(features)}
        return outputs | {name: head(features) for name, head in self.extras.items()}

    def _trunk(self, image: Tensor) -> Tensor:
        x = with_coordinates(self.normalise(image), self.config.coordinates)
        x = functional.pixel_unshuffle(x, self.config.stem)
        x = x.contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        for reduce, up, skip in zip(self.reduce, self.up, skips[-2::-1], strict=True):
            x = functional.interpolate(reduce(x), scale_factor=2.0, mode="nearest")
            x = up(torch.cat([x, skip], dim=1))
        return x
