"""Threads that compute stand back, and so do those that they start."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from service.threads import compute_threads


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def niceness_of_a_child() -> int:
    seen: list[int] = []
    child = threading.Thread(target=lambda: seen.append(niceness()))
    child.start()
    child.join()
    return seen[0]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_threads_that_compute_and_their_children_stand_back_and_this_one_does_not() -> None:
    before = niceness()
    with compute_threads(1, "test", nice=3) as pool:
        assert pool.submit(niceness).result() == min(before + 3, 19)
        assert pool.submit(niceness_of_a_child).result() == min(before + 3, 19)
    assert niceness() == before
