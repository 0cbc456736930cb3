"""Per-image normalisation, as a part of the network.

Living inside the graph it cannot differ between training and serving.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config.model import ModelConfig

_GRID = 64
"""The range of grey values is estimated on a grid of 64 x 64 pixels, whatever the image's size."""

_LOW, _HIGH = 0.01, 0.998
"""Quantiles that become 0 and 1; those of StarDist, robust to hot pixels."""

_FAR = 0.75
"""What lies farther beyond the range, in parts of it, is an object where the range is noise."""

_SMOOTH, _ROUGH = 0.35, 0.45
"""Blocks of noise differ by 0.2 of the range from what is around them, those of objects by 0.5."""

_BLACK = 3.0
"""Grey levels of a margin at most: JPEG does not keep 0."""

_REST, _LIT = 0.25, 0.995
"""What a margin leaves of the image at least, and how much of that is brighter than black."""

_DARK, _COLOURS = 0.4, 0.2
"""Fluorescence in one colour has a ground of 0.3 of the brightest and is off its colour by 0.16 of
the mean at most, as a camera takes it; the ground of stained tissue has 0.5 or more."""


class Normalise(nn.Module):
    """Map the robust range of each image's grey values to [0, 1]; colour ratios stay.

    Objects that cover less than the quantiles leave out are no part of the range. Where it holds
    nothing but noise, it goes out to them, so that one nucleus alone looks like many. Black rows
    and columns are no part of the image, and shades of one colour on a dark ground are grey.

    Input and output are (N, 3, H, W) float32; the input lies in 0..255.

    Parameters
    ----------
    config : ModelConfig
        ``ground`` and ``least_contrast``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ground = config.ground
        self.least_contrast = config.least_contrast

    def forward(self, image: Tensor) -> Tensor:
        """Normalise each image by itself."""
        image, grey = without_margin_and_dye(image)
        low, high = quantiles(grey, _LOW, _HIGH)
        span = (high - low).clamp_min(self.least_contrast)
        # Means of 25 pixels, so that a dead one is hardly an object.
        blocks = functional.avg_pool2d(grey, 5, stride=4, padding=2, count_include_pad=False)
        alone = span * noise(blocks.clamp(low, high), span)
        low = low - alone * reach((low - blocks) / span)
        high = high + alone * reach((blocks - high) / span)
        span = (high - low).clamp_min(self.least_contrast)
        # The same wherever the span is the image's own.
        return (image - low) / span if self.ground == "dark" else 1 + (image - high) / span


def without_margin_and_dye(image: Tensor) -> tuple[Tensor, Tensor]:
    """Fill a black margin with the mean, make shades of one colour grey; give image and its grey.

    In one pass over the three channels for both: each costs the smallest network hundredths more.
    """
    grey = image.mean(dim=1, keepdim=True)
    black, mean = margin(grey)
    dyed = of_one_colour(torch.where(sampled(black.float()) > 0, mean, sampled(image)))
    other = torch.where(black, mean, image.amax(dim=1, keepdim=True))
    changed = black | dyed
    return torch.where(changed, other, image), torch.where(changed, other, grey)


def margin(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Find rows and columns that are black from end to end, as stitching and turning leave them.

    Where the rest has black in it as well, or is less than a quarter of the image, black is its
    ground, and there is no margin.

    Parameters
    ----------
    grey : Tensor
        (N, 1, H, W) in 0..255.

    Returns
    -------
    black : Tensor
        (N, 1, H, W) bool.
    mean : Tensor
        (N, 1, 1, 1), of the rest.
    """
    lit = (grey > _BLACK).to(grey.dtype)
    rows, columns = lit.amax(dim=3, keepdim=True), lit.amax(dim=2, keepdim=True)
    rest = rows.mean(dim=2, keepdim=True) * columns.mean(dim=3, keepdim=True)
    bare = (lit.mean(dim=(2, 3), keepdim=True) > _LIT * rest) & (rest > _REST)
    mean = grey.mean(dim=(2, 3), keepdim=True) / rest.clamp_min(_REST)
    return (rows * columns == 0) & bare, mean


def of_one_colour(some: Tensor) -> Tensor:
    """Tell which images show one colour in many shades on a dark ground, (N, 1, 1, 1) bool.

    Microscopes store fluorescence so, each dye in a colour of its own.

    Parameters
    ----------
    some : Tensor
        (N, 3, h, w) pixels in 0..255.
    """
    brightest = some.amax(dim=1, keepdim=True)
    ground, top = quantiles(brightest, 0.05, _HIGH)
    colour = some.mean(dim=(2, 3), keepdim=True)
    most = colour.amax(dim=1, keepdim=True)
    off = (some * most - brightest * colour).abs().mean(dim=(1, 2, 3), keepdim=True)
    mean = brightest.mean(dim=(2, 3), keepdim=True)
    return (ground < _DARK * top) & (off < _COLOURS * most * mean)


def sampled(values: Tensor) -> Tensor:
    """Take a grid of the pixels, (N, C, 64, 64)."""
    return functional.interpolate(values, size=(_GRID, _GRID), mode="nearest")


def quantiles(grey: Tensor, *shares: float) -> list[Tensor]:
    """Estimate quantiles of each image, (N, 1, 1, 1), from a grid of its (N, 1, H, W) values."""
    values = sampled(grey).flatten(1)
    ordered = torch.topk(values, _GRID * _GRID, dim=1).values  # (N, 4096), descending
    last = _GRID * _GRID - 1
    return [ordered[:, round((1 - share) * last)].view(-1, 1, 1, 1) for share in shares]


def noise(blocks: Tensor, span: Tensor) -> Tensor:
    """Tell whether the range holds noise alone: 1, or objects as well: 0, (N, 1, 1, 1).

    Parameters
    ----------
    blocks : Tensor
        (N, 1, h, w) means of small blocks, cut off at the range.
    span : Tensor
        (N, 1, 1, 1) grey levels of the range.
    """
    around = functional.avg_pool2d(blocks, 9, stride=1, padding=4, count_include_pad=False)
    # An object is in twice as many blocks, by its rim: twice the shares that the range leaves out.
    low, high = quantiles(blocks - around, 2 * _LOW, 2 * _HIGH - 1)
    return ((_ROUGH - (high - low) / span) / (_ROUGH - _SMOOTH)).clamp(0, 1)


def reach(beyond: Tensor) -> Tensor:
    """Tell how much farther the range has to go, in parts of it, (N, 1, 1, 1).

    The harmonic mean of what lies farther than `_FAR`, (N, 1, h, w) `beyond`, because one black
    scale bar must not hide every pale object.
    """
    far = (beyond > _FAR).to(beyond.dtype)
    few = 1e-5  # of the image, as if it lay at `_FAR`: where nothing is farther, nothing changes
    share = far.mean(dim=(2, 3), keepdim=True)
    inverse = (far / beyond.clamp_min(_FAR)).mean(dim=(2, 3), keepdim=True)
    return (share + few) / (inverse + few / _FAR) - _FAR
