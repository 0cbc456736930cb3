"""How the hot loops are compiled: without the interpreter lock, and once per machine.

The compiled code is kept beside the source, or in ``NUMBA_CACHE_DIR``; where neither can be
written, it is compiled anew in each process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

REASSOCIATE = frozenset({"reassoc", "contract", "nsz"})
"""Sums may be split over vector lanes; NaN and infinity keep their meaning."""


def kernel(function: Function) -> Function:
    """Compile a function of arrays and numbers on its first call with each set of types.

    Division by zero gives infinity or NaN, as in NumPy.
    """
    return _compiled(function, inline="never")


def inlined(function: Function) -> Function:
    """Compile as `kernel` does, and copy the body into the callers: for what each pixel calls."""
    return _compiled(function, inline="always")


def _compiled(function: Function, *, inline: str) -> Function:
    compile_it = partial(
        numba.njit, nogil=True, error_model="numpy", fastmath=set(REASSOCIATE), inline=inline
    )
    try:
        compiled = compile_it(cache=True)(function)
    except RuntimeError:  # no folder to keep compiled code in
        compiled = compile_it(cache=False)(function)
    return cast("Function", compiled)
