"""How the hot loops are compiled: without the interpreter lock, and once per machine.

The compiled code is kept in ``NUMBA_CACHE_DIR``, else beside the source, else in the user's cache;
where none of them can be written, or the disk is full, it is compiled anew in each process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

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
    compiled = numba.njit(
        nogil=True, error_model="numpy", fastmath=set(REASSOCIATE), inline=inline
    )(function)
    with contextlib.suppress(RuntimeError):  # no folder to keep compiled code in
        compiled._cache = _KeptCode(function)  # as `cache=True` does
    return cast("Function", compiled)


def is_kept(function: Callable[..., Any]) -> bool:
    """Return whether there is a folder in which the code of a kernel outlives the process."""
    return function._cache.cache_path is not None  # type: ignore[attr-defined]  # Numba has no types


class _KeptCode(FunctionCache):  # type: ignore[misc]  # Numba has no types
    """Compiled code in a folder, as long as there is room: a full disk must stop no kernel."""

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)
