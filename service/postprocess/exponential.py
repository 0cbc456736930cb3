"""An exponential that compilers can spread over vector lanes."""

from __future__ import annotations

import numpy as np

from service.compiled import kernel
from service.postprocess.planes import float_of_bits

LOG2E = np.float32(1.4426950408889634)
LN2 = np.float32(0.6931471805599453)


@kernel
def exp32(x: np.float32) -> np.float32:
    """Return ``exp(x)`` to seven digits; x is taken as at least -87 and at most 88.

    With n the nearest integer to x / ln 2, the exponent bits hold n and a Taylor series the rest.
    """
    clipped = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(clipped * LOG2E + np.float32(0.5))
    r = clipped - n * LN2
    series = np.float32(1.0 / 720.0)
    series = series * r + np.float32(1.0 / 120.0)
    series = series * r + np.float32(1.0 / 24.0)
    series = series * r + np.float32(1.0 / 6.0)
    series = series * r + np.float32(0.5)
    series = series * r + np.float32(1.0)
    series = series * r + np.float32(1.0)
    scale: np.float32 = float_of_bits(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))
    return np.float32(series * scale)
