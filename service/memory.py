"""What a process that serves does about its memory: keep what is freed, leave what stays alone.

And which errors say that there is not enough of it.
"""

from __future__ import annotations

import ctypes
import gc

import cv2

# From glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3

_MIB = 1 << 20


def keep_freed_memory() -> None:
    """Let glibc keep up to 16 MiB a heap, and take blocks of up to 8 MiB from it.

    By default it maps every array of some hundred kilobytes anew, and the kernel clears its pages:
    1 to 2 ms of a request of 512 x 512 pixels (`python -m benchmarks.bench_triton gateway`). Where
    there is no glibc, nothing happens. What is larger still goes back to the system at once.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, 8 * _MIB)
    mallopt(_TRIM_THRESHOLD, 16 * _MIB)


def was_short(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory; OpenCV has one of its own."""
    if isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.StsNoMem)
    return isinstance(error, MemoryError)


def leave_out_of_collections() -> None:
    """Take everything there is now out of garbage collection, for it is there to stay.

    Some 200,000 objects of modules and of the application: a full collection, which comes once in a
    while, would look at each of them, and stop every thread for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
