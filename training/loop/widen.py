"""Put a network's weights into a wider one of the same kind, which answers as before at first.

New channels begin with random weights of their own, and nothing that was there reads them yet:
what they compute counts from the first step on (Net2Net's idea, arXiv:1511.05641, with zeros).
"""

from __future__ import annotations

from torch import Tensor


def fits(shape: tuple[int, ...], wider: tuple[int, ...], joined: int) -> bool:
    """Tell whether a parameter of one shape can be put into one of another.

    Parameters
    ----------
    shape, wider : tuple of int
        Outputs, then inputs and kernel where there are any.
    joined : int
        Maps that the inputs consist of, side by side and equally wide; 0: none may be wider.
    """
    if shape == wider:
        return True
    return (
        joined > 0
        and shape[2:] == wider[2:]
        and len(shape) == len(wider)
        and all(old <= new for old, new in zip(shape, wider, strict=True))
        and all(size % joined == 0 for side in (shape, wider) for size in side[1:2])
    )


def widen(value: Tensor, fresh: Tensor, joined: int) -> Tensor:
    """Return `fresh` with the channels of `value` in it, blind to the channels that are new.

    Parameters
    ----------
    value : tensor
        Known: (outputs, inputs, height, width), or (outputs,).
    fresh : tensor
        As drawn for the wider network.
    joined : int
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
    for old, new in zip(value.chunk(joined, 1), grown[:outputs].chunk(joined, 1), strict=True):
        new[:, : old.shape[1]] = old
    return grown
