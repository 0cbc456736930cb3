"""What networks are built of: a convolution and its batch normalisation, always as a pair.

Serving folds the pair into one convolution (`training.models.serving`), which
`training.loop.warm_start` takes apart again: both find it as the first two children of a
`Sequential`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Kernel = int | tuple[int, int]


def conv(inputs: int, outputs: int, kernel: Kernel, *, dilation: Kernel = 1) -> nn.Conv2d:
    """Convolve with a bias, keeping the size."""
    return nn.Conv2d(inputs, outputs, kernel, padding=_padding(kernel, dilation), dilation=dilation)


def conv_norm(
    inputs: int, outputs: int, kernel: Kernel = 3, *, stride: int = 1, dilation: Kernel = 1
) -> nn.Sequential:
    """Convolve and normalise; ``stride`` divides the size, rounding up where the kernel is odd.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int or (int, int)
        Size of the kernel, rows first.
    stride : int
        Pixels per output pixel.
    dilation : int or (int, int)
        Distance between the kernel's taps.
    """
    convolution = nn.Conv2d(
        inputs, outputs, kernel,
        stride=stride, padding=_padding(kernel, dilation), dilation=dilation, bias=False,
    )  # fmt: skip
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """3 x 3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(*conv_norm(inputs, outputs), nn.ReLU(inplace=True))


def double_norm(inputs: int, outputs: int) -> nn.Sequential:
    """Double the size by a transposed 3 x 3 convolution, and normalise."""
    convolution = nn.ConvTranspose2d(
        inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _padding(kernel: Kernel, dilation: Kernel) -> tuple[int, int]:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    apart = (dilation, dilation) if isinstance(dilation, int) else dilation
    return ((size[0] - 1) // 2 * apart[0], (size[1] - 1) // 2 * apart[1])


def doubled(x: Tensor) -> Tensor:
    """Repeat every pixel of (N, C, H, W): (N, C, 2H, 2W).

    Notes
    -----
    Compiled for a CPU, PyTorch 2.13 gives ``interpolate`` no gradient in bfloat16; elsewhere it is
    the faster of the two, and one operator in ONNX.
    """
    if torch.compiler.is_dynamo_compiling():
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
