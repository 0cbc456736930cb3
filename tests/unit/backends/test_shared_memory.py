"""Regions: reused, bounded, and gone when their owner is gone."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from service.backends.shared_memory import RegionPool, remove_stale

MEBIBYTE = 2**20


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_region_that_was_given_back_is_handed_out_again(tmp_path: Path) -> None:
    pool = RegionPool(4 * MEBIBYTE, tmp_path)
    first = pool.lease(100)
    assert first is not None
    pool.give_back(first)
    assert pool.lease(200) is first
    pool.give_back(first)
    pool.close()


def test_what_is_written_stands_in_the_file_that_others_open(tmp_path: Path) -> None:
    pool = RegionPool(MEBIBYTE, tmp_path)
    region = pool.lease(8)
    assert region is not None
    region.data[:3] = [1, 2, 3]
    np.testing.assert_array_equal(np.fromfile(tmp_path / region.name, np.uint8, 3), [1, 2, 3])
    pool.discard(region)


def test_the_smallest_region_that_is_large_enough_is_taken(tmp_path: Path) -> None:
    pool = RegionPool(9 * MEBIBYTE, tmp_path)
    large, small = pool.lease(5 * MEBIBYTE), pool.lease(2 * MEBIBYTE)
    assert large is not None
    assert small is not None
    pool.give_back(large)
    pool.give_back(small)
    assert pool.lease(MEBIBYTE) is small


def test_no_more_than_the_limit_is_handed_out(tmp_path: Path) -> None:
    pool = RegionPool(2 * MEBIBYTE, tmp_path)
    assert pool.lease(MEBIBYTE)
    assert pool.lease(MEBIBYTE)
    assert pool.lease(1) is None
    assert pool.used_bytes == 2 * MEBIBYTE


def test_small_free_regions_make_room_for_a_large_one(tmp_path: Path) -> None:
    pool = RegionPool(2 * MEBIBYTE, tmp_path)
    small = [pool.lease(1), pool.lease(1)]
    for region in small:
        assert region is not None
        pool.give_back(region)
    large = pool.lease(2 * MEBIBYTE)
    assert large is not None
    assert names(tmp_path) == {large.name}


def test_a_discarded_region_loses_its_name_and_keeps_its_bytes(tmp_path: Path) -> None:
    pool = RegionPool(MEBIBYTE, tmp_path)
    region = pool.lease(1)
    assert region is not None
    region.data[0] = 7
    pool.discard(region)
    assert names(tmp_path) == set()
    assert region.data[0] == 7
    assert pool.used_bytes == 0


def test_a_folder_without_room_gives_none(tmp_path: Path) -> None:
    assert RegionPool(2**62, tmp_path).lease(2**61) is None
    assert names(tmp_path) == set()


def test_a_folder_that_is_not_there_gives_none(tmp_path: Path) -> None:
    assert RegionPool(2**20, tmp_path / "missing").lease(1) is None


def test_closing_removes_every_name_and_leaves_readers_their_bytes(tmp_path: Path) -> None:
    pool = RegionPool(2 * MEBIBYTE, tmp_path)
    free, held = pool.lease(1), pool.lease(1)
    assert free is not None
    assert held is not None
    pool.give_back(free)
    held.data[0] = 7
    pool.close()
    pool.give_back(held)
    assert names(tmp_path) == set()
    assert held.data[0] == 7


def test_regions_of_a_process_that_was_killed_are_removed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from service.backends.shared_memory import RegionPool;"
        "pool = RegionPool(2**20, Path(sys.argv[1])); pool.lease(1);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    [left] = names(tmp_path)
    assert remove_stale(tmp_path) == [left]
    assert names(tmp_path) == set()


def test_regions_whose_owner_lives_and_files_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "discern-living-1"
    (tmp_path / "other").touch()
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert remove_stale(tmp_path) == []
    os.close(descriptor)
    assert names(tmp_path) == {"discern-living-1", "other"}
