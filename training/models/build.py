"""From the configuration to a network."""

from __future__ import annotations

import torch

from service.domain import Method
from training.config.experiment import Config
from training.config.model import ModelConfig
from training.models.enet import ENet
from training.models.erfnet import ERFNet
from training.models.fpn import FPN
from training.models.network import PixelNetwork
from training.models.unet import UNet


def build_model(config: Config) -> PixelNetwork:
    """Build the network of an experiment, with weights that follow from its seed."""
    torch.manual_seed(config.seed)
    return build_network(config.model, method=config.loss.method, classes=len(config.classes))


def build_network(config: ModelConfig, *, method: Method, classes: int) -> PixelNetwork:
    """Build the configured network, weights drawn from torch's generator.

    Parameters
    ----------
    config : ModelConfig
        Which one, and its size.
    method : Method
        Decides the heads.
    classes : int
        Foreground maps.
    """
    match config.network:
        case "unet":
            return UNet(config, method=method, classes=classes)
        case "enet":
            return ENet(config, method=method, classes=classes)
        case "erfnet":
            return ERFNet(config, method=method, classes=classes)
        case "fpn":
            return FPN(config, method=method, classes=classes)
