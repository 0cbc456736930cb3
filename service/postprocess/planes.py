"""Reading planar embeddings inside compiled kernels: any crop, float16 or float32, never copied.

Axes: E embedding, H W image. The kernels take the embedding as `Planes`, one flat run of memory
with explicit strides, so that one compiled form serves whole arrays and crops alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from service.arrays import Float32, Floats
from service.compiled import kernel

CHUNK = 64
"""Pixels of a row that a kernel works on at a time."""

STRETCH = 8 * CHUNK
"""Pixels of a row that it reads at a time: memory is fastest in long runs."""


def _converts_halves() -> bool:
    """Return whether the processor compiled for has an instruction that reads a float16.

    For others LLVM calls ``__extendhfsf2`` of compiler-rt, which no library here brings.
    """
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+f16c" in features.split(",") or triple.startswith(("aarch64", "arm64"))


CONVERTS_HALVES = _converts_halves()


class Planes(NamedTuple):
    """An (E, H, W) array as flat memory.

    Parameters
    ----------
    values : (n,) float32 or uint16
        From the first element to the last; uint16 holds the bits of float16, which compiled code
        has no type for.
    size : int
        E.
    plane, row : int
        Elements from one plane, and from one row, to the next.
    """

    values: npt.NDArray[Any]
    size: int
    plane: int
    row: int


def as_planes(embedding: Floats) -> Planes:
    """View an embedding as flat memory.

    Parameters
    ----------
    embedding : (E, H, W) float16 or float32
        Copied only if its rows are not contiguous, or its dtype is neither of the two.

    Raises
    ------
    ValueError
        If the array is not three-dimensional, or not of a floating dtype.
    """
    if embedding.ndim != 3 or embedding.dtype.kind != "f":
        raise ValueError(
            f"an embedding is a floating (E, H, W) array, not {embedding.dtype} "
            f"with {embedding.ndim} axes"
        )
    if embedding.dtype.char not in "ef" or not embedding.dtype.isnative:
        embedding = embedding.astype(np.float32)
    item = embedding.itemsize
    if embedding.strides[2] != item or min(embedding.strides) < 0 or not embedding.flags.aligned:
        embedding = np.ascontiguousarray(embedding)
    size, height, width = embedding.shape
    plane, row = embedding.strides[0] // item, embedding.strides[1] // item
    if embedding.flags.c_contiguous:
        values = embedding.reshape(-1)
    else:  # from the first element of the view to its last: memory that the view already spans
        length = (size - 1) * plane + (height - 1) * row + width if embedding.size else 0
        values = np.lib.stride_tricks.as_strided(embedding, (length,), (item,))
    values = values.view(np.uint16 if item == 2 else np.float32)
    values.flags.writeable = False  # one compiled form, whether the memory may be written or not
    return Planes(values, size, plane, row)


def _bitcast(typingctx: Any, bits: Any) -> Any:  # noqa: ARG001 - the signature that Numba calls
    """Read 32 bits as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001 - as above
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


float_of_bits = intrinsic(_bitcast)
"""Read 32 bits as a float32; compiled code only."""


def _convert(typingctx: Any, bits: Any) -> Any:  # noqa: ARG001 - the signature that Numba calls
    """Convert the bits of a float16 with one instruction."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001 - as above
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


convert = intrinsic(_convert)
"""Convert the bits of a float16 to float32, where `CONVERTS_HALVES`; compiled code only."""


def _prefetch(typingctx: Any, array: Any, index: Any) -> Any:  # noqa: ARG001 - the signature that Numba calls
    """Ask for the memory of one element."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        element = builder.bitcast(builder.gep(data, [args[1]]), pointer)
        # To read, for every level of cache, as data: https://llvm.org/docs/LangRef.html
        builder.call(function, [element, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


prefetch = intrinsic(_prefetch)
"""Ask for the memory of ``array[index]`` ahead of its use; compiled code only."""


def widen(value: Any) -> Any:
    """Return a stored element as float32; compiled code only."""
    raise NotImplementedError(value)


def _widen(value: Any) -> Any:
    if value == types.uint16 and CONVERTS_HALVES:

        def converted(value: Any) -> Any:
            return convert(value)

        return converted

    if value == types.uint16:

        def half(value: Any) -> Any:
            # Exponent and fraction moved to their place, the bias mended by one product; this
            # takes subnormals along. All ones in the exponent means infinity or NaN.
            magnitude = np.int32(value & 0x7FFF)
            number = float_of_bits(np.int32(magnitude << 13)) * np.float32(2.0**112)
            if magnitude >= 0x7C00:
                number = np.float32(np.inf if magnitude == 0x7C00 else np.nan)
            return -number if value & 0x8000 else number

        return half

    def as_it_is(value: Any) -> Any:
        return value

    return as_it_is


overload(widen, inline="always")(_widen)


@kernel
def load(planes: Planes, y: int, x: int, count: int, out: Float32) -> None:
    """Copy `count` pixels of row `y` from column `x` on into ``out[E, count]`` as float32."""
    values = planes.values
    for e in range(planes.size):
        start = np.uint64(e * planes.plane + y * planes.row + x)  # unsigned: see `lookup.measure`
        for p in range(np.uint64(count)):
            out[e, p] = widen(values[start + p])


@kernel
def announce(planes: Planes, y: int, x: int, count: int) -> None:
    """Ask for the memory of `count` pixels from column `x` of row `y` on, which will be loaded."""
    values = planes.values
    line = 64 // values.itemsize
    for e in range(planes.size):
        start = e * planes.plane + y * planes.row + x
        for at in range(start, min(start + count, values.size), line):
            prefetch(values, at)
