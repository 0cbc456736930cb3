"""What every network shares: normalisation and position before its trunk, heads after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from service import signature
from service.domain import Method
from training.config.model import ModelConfig
from training.models.coordinates import CHANNELS, with_coordinates
from training.models.heads import Head, add_position, extra_heads
from training.models.normalise import Normalise


class PixelNetwork(nn.Module, ABC):
    """Image in 0..255 to embedding and foreground logits.

    A network is a subclass that builds its trunk, calls `add_heads` last, and defines `features`.

    Parameters
    ----------
    config : ModelConfig
        Widths, stem, embedding.
    method : Method
        Decides which outputs there are beyond embedding and foreground.
    """

    def __init__(self, config: ModelConfig, method: Method) -> None:
        super().__init__()
        self.config = config
        self.method = method
        self.channels = 3 + CHANNELS[config.coordinates]
        self.normalise = Normalise(config)

    def add_heads(self, inputs: int, classes: int) -> None:
        """Build the heads.

        Parameters
        ----------
        inputs : int
            Channels of `features`.
        classes : int
            Foreground maps.
        """
        config = self.config
        upscale = config.stem // config.embedding_stride
        self.embedding = Head(inputs, config.embedding_size, upscale=upscale)
        self.foreground = Head(inputs, classes, upscale=config.stem)
        self.extras = extra_heads(self.method, inputs=inputs, classes=classes, upscale=upscale)

    def parts(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Tell which maps a parameter reads, side by side: the channels of each.

        None, as here: it has the shape it has, and `training.loop.widen` leaves it alone.

        Parameters
        ----------
        name : str
            As in ``named_parameters``.
        shapes : mapping of str to tuple of int
            Of all parameters of a network of this kind, which may be narrower.
        """
        del name, shapes
        return ()

    def begins_neutral(self, name: str) -> bool:
        """Tell whether a parameter changes nothing as drawn, so that a model folder may lack it.

        Parameters
        ----------
        name : str
            As in ``named_parameters``.
        """
        del name
        return False

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """Run the trunk.

        Parameters
        ----------
        image : (N, channels, H, W) float32
            Normalised picture, then position channels.

        Returns
        -------
        (N, inputs of the heads, H / stem, W / stem)
        """

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
        config = self.config
        features = self.features(with_coordinates(self.normalise(image), config.coordinates))
        embedding = self.embedding(features)
        if config.position_px > 0:
            embedding = add_position(
                embedding, position_px=config.position_px, stride=config.embedding_stride
            )
        if self.method == "spatial":
            embedding = torch.tanh(embedding)
        outputs = {signature.EMBEDDING: embedding, signature.FOREGROUND: self.foreground(features)}
        return outputs | {name: head(features) for name, head in self.extras.items()}
