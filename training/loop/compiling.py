"""The network compiled for the machine that trains it, once it is known to learn the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Outputs = dict[str, Tensor]

_ROUNDING, _LEAST = 1.5, 0.05
"""A gradient may be off by so many times what rounding alone costs, and by this share of it."""


class CompileError(RuntimeError):
    """The network could not be compiled here, or not rightly."""


def compile_network(network: nn.Module, images: Tensor, *, bfloat16: bool) -> None:
    """Compile a network in place, and hold its gradients to those of the plain one.

    Compilers err in silence: PyTorch 2.13 gave no gradient at all to what lies before an
    enlargement (`training.models.blocks.doubled`), and the loss still fell.

    Parameters
    ----------
    network : Module
        Keeps its parameters, their names, and what it knows of batches.
    images : (B, 3, H, W) float32
        Shaped as those that it will learn from.
    bfloat16 : bool
        Compute as the run will.

    Raises
    ------
    CompileError
        If there is no compiler, it fails, or gradients differ.
    """
    # Takes as long to import as PyTorch itself, and few runs need it.
    from torch._dynamo.exc import BackendCompilerFailed

    exact = _gradient(network, network.forward, images, bfloat16=False)
    plain = _gradient(network, network.forward, images, bfloat16=bfloat16)
    # Dropout draws what it would have drawn.
    network.compile(options={"fallback_random": True})
    try:
        compiled = _gradient(network, network, images, bfloat16=bfloat16)
    except BackendCompilerFailed as error:
        reason = str(error).partition("\n")[0]
        raise CompileError(
            f"optim.compile: {reason}; install a compiler (g++) or leave the setting out"
        ) from error
    off, rounding = (float((g - exact).norm() / exact.norm()) for g in (compiled, plain))
    if not off <= _ROUNDING * rounding + _LEAST:
        raise CompileError(
            f"optim.compile: gradients of the compiled network are off by {off:.0%}, those of the "
            f"plain one by {rounding:.0%}; PyTorch {torch.__version__} compiles it wrongly here, "
            "leave the setting out"
        )


def _gradient(
    network: nn.Module, call: Callable[[Tensor], Outputs], images: Tensor, *, bfloat16: bool
) -> Tensor:
    """Differentiate the mean square of all outputs by all parameters, and leave no trace."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    torch.manual_seed(0)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        outputs = call(images)
    means = [output.float().square().mean() for output in outputs.values()]
    torch.autograd.backward([torch.stack(means).sum()])
    # What no gradient reached has one of zero.
    gradient = torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
            for p in network.parameters()
        ]
    )
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    return gradient
