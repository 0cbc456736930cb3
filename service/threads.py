"""Threads that compute, and stand back behind the one that accepts, answers and refuses.

When every core is busy the scheduler shares time out by thread, and one event loop among a dozen
threads gets a dozenth: too little to refuse what is too much. docs/RELIABILITY.md has what this
makes of an overload.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial


def compute_threads(count: int, name: str, *, nice: int) -> ThreadPoolExecutor:
    """Return a pool whose threads, and those that they start, have a lower priority.

    Parameters
    ----------
    count : int
        Threads at most.
    name : str
        What their names begin with.
    nice : int
        By how much nicer they are than the process (Linux; elsewhere they are not).
    """
    return ThreadPoolExecutor(
        count, thread_name_prefix=name, initializer=partial(_stand_back, nice)
    )


def _stand_back(nice: int) -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + nice)
