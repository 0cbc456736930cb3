"""What a recipe can set of each method's decoder: names, kinds and ranges.

The keyword arguments of the decoders in `service.postprocess`, known here without importing them:
a misspelt or impossible setting is refused when the recipe is read, not when an image comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from service.domain import Method


class Range(NamedTuple):
    """What one setting may be: a finite number, from its least on, below a bound if it has one.

    Parameters
    ----------
    least : float
        The smallest that is allowed.
    open : bool
        Whether the smallest itself is not.
    whole : bool
        Whether it must be a whole number.
    below : float
        What it must stay below.
    """

    least: float = 0.0
    open: bool = False
    whole: bool = False
    below: float = math.inf

    def __str__(self) -> str:
        """Say what would be right."""
        kind = "a whole number" if self.whole else "a number"
        least = f"above {self.least:g}" if self.open else f"of {self.least:g} or more"
        return f"{kind} {least}" + (f", below {self.below:g}" if self.below < math.inf else "")

    def holds(self, value: object) -> bool:
        """Tell whether a value is such a number."""
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        beyond = value > self.least if self.open else value >= self.least
        return beyond and value < self.below and not (self.whole and value != int(value))


_NOT_NEGATIVE: Final = Range()
_POSITIVE: Final = Range(open=True)
_WHOLE: Final = Range(whole=True)
_COUNT: Final = Range(1, whole=True)
_PROBABILITY: Final = Range(below=1)

DECODER_SETTINGS: Final[Mapping[Method, Mapping[str, Range]]] = MappingProxyType(
    {
        "discriminative": {
            "bandwidth": _POSITIVE,
            "min_pixels": _WHOLE,
            "join_below": _NOT_NEGATIVE,
            "join_rim": _NOT_NEGATIVE,
            "join_size": _NOT_NEGATIVE,
        },
        "associative": {"bandwidth": _POSITIVE, "min_pixels": _WHOLE},
        "metric_learning": {"alpha": _NOT_NEGATIVE, "max_seeds": _COUNT, "min_pixels": _WHOLE},
        "recurrent": {
            "kappa": _POSITIVE,
            "merge": _NOT_NEGATIVE,
            "max_seeds": _COUNT,
            "rounds": _WHOLE,
            "min_pixels": _WHOLE,
        },
        "spatial": {"unit_px": _POSITIVE, "min_seed": _PROBABILITY, "min_pixels": _WHOLE},
    }
)


def faults(method: Method, settings: Mapping[str, object]) -> Iterator[str]:
    """Say what is wrong with settings for the decoder of a method, one sentence for each fault.

    Parameters
    ----------
    method : Method
        Whose decoder.
    settings : mapping of str to object
        By name, as read from somewhere.
    """
    known = DECODER_SETTINGS[method]
    for name, value in settings.items():
        if name not in known:
            yield f"{name!r} is not one of {', '.join(known)}, the settings of {method}"
        elif not known[name].holds(value):
            yield f"{name} is {value!r}, must be {known[name]}"
