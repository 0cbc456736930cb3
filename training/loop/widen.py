"""Put a network's weights into a wider one of the same kind, which answers as before at first.

New channels begin with random weights of their own, and nothing that was there reads them yet:
what they compute counts from the first step on (Net2Net's idea, arXiv:1511.05641, with zeros).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Parts(NamedTuple):
    """Which maps a parameter reads, side by side: the channels of each.

    Parameters
    ----------
    known, wanted : tuple of int
        In the network whose weights are known, and in the one that receives them.
    """

    known: tuple[int, ...]
    wanted: tuple[int, ...]


def fits(shape: tuple[int, ...], wider: tuple[int, ...], parts: Parts) -> bool:
    """Tell whether a parameter of one shape can be put into one of another.

    Parameters
    ----------
    shape, wider : tuple of int
        Outputs, then inputs and kernel where there are any.
    parts : Parts
        What the inputs are; without any, the parameter may not be wider.
    """
    if shape == wider:
        return True
    if not parts.wanted or len(shape) != len(wider) or len(parts.known) != len(parts.wanted):
        return False
    inputs = (sum(parts.known),) if len(shape) > 1 else ()
    return (
        shape[0] <= wider[0]
        and shape[1:2] == inputs
        and shape[2:] == wider[2:]
        and all(old <= new for old, new in zip(*parts, strict=True))
    )


def widen(value: Tensor, fresh: Tensor, parts: Parts) -> Tensor:
    """Return `fresh` with the channels of `value` in it, blind to the channels that are new.

    Parameters
    ----------
    value : tensor
        Known: (outputs, inputs, height, width), or (outputs,).
    fresh : tensor
        As drawn for the wider network.
    parts : Parts
        As in `fits`.
    """
    if value.shape == fresh.shape:
        return value
    outputs = value.shape[0]
    grown = fresh.clone()
    if value.dim() == 1:
        grown[:outputs] = value
        return grown
    grown[:outputs] = 0
    at = to = 0
    for old, new in zip(*parts, strict=True):
        grown[:outputs, to : to + old] = value[:, at : at + old]
        at, to = at + old, to + new
    return grown
