"""Memory that a request freed serves the next one, and what stays is left alone."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

import pytest

from service.memory import leave_out_of_collections

PROGRAM = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from service.memory import keep_freed_memory

def request():
    arrays = [np.ones(1_000_000, np.uint8) for _ in range(8)]  # together above what glibc keeps
    return sum(int(array[-1]) for array in arrays)

if sys.argv[1] == "keep":
    keep_freed_memory()
with ThreadPoolExecutor(1) as pool:
    for round in range(20):
        if round == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        pool.submit(request).result()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Count the pages that ten requests ask the kernel for, once the first ten are over."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="says nothing of other C libraries")
def test_what_a_request_freed_is_there_for_the_next() -> None:
    assert page_faults("keep") < 100 < page_faults("leave")


def test_what_exists_is_looked_at_no_more_and_what_comes_later_still_is() -> None:
    try:
        leave_out_of_collections()
        kept = gc.get_freeze_count()
        later: list[object] = []
        later.append(later)
        del later
        assert kept > 1000
        assert gc.collect() >= 1
        assert gc.get_freeze_count() <= kept  # what is no longer referred to goes all the same
    finally:
        gc.unfreeze()
