"""The network as it is served: bytes of an image in, half-precision maps out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from service import signature


class ServedNetwork(nn.Module):
    """Wrap a network in the tensor contract of `service.signature`.

    Parameters
    ----------
    network : Module
        Takes (N, 3, H, W) float32 in 0..255.
    names : tuple of str
        Output tensors, in order.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (N, H, W, 3) uint8 to the half-precision outputs."""
        outputs = self.network(image.permute(0, 3, 1, 2).to(torch.float32))
        return tuple(outputs[name].to(torch.float16) for name in self.names)


def served(network: nn.Module, method: str) -> ServedNetwork:
    """Make a copy of a trained network that is ready to serve.

    Batch normalisation is folded into the convolutions, and weights are rounded to half precision,
    which is how they are stored.

    Parameters
    ----------
    network : Module
        Trained; it is not changed.
    method : str
        Decides the outputs.
    """
    frozen = _fold(copy.deepcopy(network).eval())
    for module in frozen.modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
            # Slopes become maps of one pixel in the exported network.
            if parameter.dim() > 1 or isinstance(module, nn.PReLU):
                parameter.copy_(parameter.half().float())
    names = tuple(spec.name for spec in signature.OUTPUTS[method])
    return ServedNetwork(frozen, names).eval()


def _fold(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        match list(child.children()):
            case [
                nn.Conv2d() | nn.ConvTranspose2d() as convolution,
                nn.BatchNorm2d() as norm,
                *rest,
            ]:
                transposed = isinstance(convolution, nn.ConvTranspose2d)
                fused = fuse_conv_bn_eval(convolution, norm, transposed)
                # What follows keeps its place, and so its name: `loop.warm_start` reads it.
                setattr(module, name, nn.Sequential(fused, nn.Identity(), *rest))
            case _:
                _fold(child)
    return module
