"""Where a label image changes, 64 pixels at a time: for kernels that go from run to run.

A word has one bit per pixel, the lowest for the first; the next change is its lowest bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from service.arrays import Int32
from service.compiled import kernel

WORD = 64
"""Pixels in a word."""


def _differ(typingctx: Any, one: Any, i: Any, other: Any, j: Any) -> Any:  # noqa: ARG001 - the signature that Numba calls
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = []
        for kind, array, at in zip(signature.args[::2], args[::2], args[1::2], strict=True):
            data = context.make_array(kind)(context, builder, array).data
            lanes = ir.VectorType(ir.IntType(32), WORD).as_pointer()
            part = builder.load(builder.bitcast(builder.gep(data, [at]), lanes))
            part.align = 4
            parts.append(part)
        return builder.bitcast(builder.icmp_unsigned("!=", *parts), ir.IntType(WORD))

    return types.uint64(one, types.intp, other, types.intp), codegen


differ: Callable[[Int32, int, Int32, int], np.uint64] = intrinsic(_differ)
"""Compare `WORD` elements of two flat int32 arrays, from `i` and `j` on; compiled code only."""


def _lowest(typingctx: Any, word: Any) -> Any:  # noqa: ARG001 - the signature that Numba calls
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001 - as above
        return builder.cttz(args[0], cgutils.false_bit)

    return types.int64(types.uint64), codegen


lowest = intrinsic(_lowest)
"""Return the number of the lowest bit, `WORD` if there is none; compiled code only."""


@kernel
def changes(one: Int32, i: int, other: Int32, j: int, count: int) -> np.uint64:
    """Return a bit for each of `count` pixels, `WORD` at most, in which two flat arrays differ."""
    if count == WORD:
        return differ(one, i, other, j)
    word = np.uint64(0)
    for p in range(count):
        if one[i + p] != other[j + p]:
            word |= np.uint64(1) << np.uint64(p)
    return word


@kernel
def ends(flat: Int32, begin: int, width: int, out: Int32) -> int:
    """Write the column after each run of equal values of a row; return how many runs there are.

    The row is ``flat[begin : begin + width]``, and not empty; `out` has room for `width` columns.
    """
    count = 0
    for x in range(0, width - 1, WORD):
        word = changes(flat, begin + x, flat, begin + x + 1, min(WORD, width - 1 - x))
        while word != 0:
            out[count] = x + lowest(word) + 1
            count += 1
            word &= word - np.uint64(1)
    out[count] = width
    return count + 1


@kernel
def fill(labels: Int32, y: int, begin: int, end: int, value: int) -> None:
    """Give one value to the columns from `begin` to before `end` of a row."""
    stored = np.int32(value)
    for u in range(np.uint64(begin), np.uint64(end)):  # unsigned, or the loop is not vectorised
        labels[y, u] = stored
