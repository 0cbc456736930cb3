"""The file of jobs: whose it is, and what happens when it cannot be read or written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import JobsUnavailable
from service.jobs.records import Order
from service.jobs.sqlite_store import SqliteJobs


def open_store(path: Path) -> SqliteJobs:
    return SqliteJobs(path, max_bytes=10_000, keep_s=60)


def test_a_second_process_does_not_get_the_file(tmp_path: Path) -> None:
    first = open_store(tmp_path / "jobs")
    with pytest.raises(JobsUnavailable):
        open_store(tmp_path / "jobs")
    first.close()
    open_store(tmp_path / "jobs").close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(JobsUnavailable):
        open_store(path)


def test_the_release_before_can_go_on_with_the_file(tmp_path: Path) -> None:
    open_store(tmp_path / "jobs").close()
    with closing(sqlite3.connect(tmp_path / "jobs")) as db:  # what 0.1.0 does at its start
        db.execute("CREATE INDEX IF NOT EXISTS items_by_state ON items (state, not_before_s)")
    open_store(tmp_path / "jobs").close()


def steps_to_claim(store: SqliteJobs) -> int:
    """Claim an item and return how many instructions SQLite ran, in tens."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    store._db.set_progress_handler(count, 10)
    assert store.claim() is not None
    store._db.set_progress_handler(None, 0)
    return steps


def test_an_image_is_found_as_fast_in_a_long_queue_as_in_a_short_one(tmp_path: Path) -> None:
    store = open_store(tmp_path / "jobs")
    few, many = (tuple((str(n), b"x") for n in range(count)) for count in (2, 2000))
    store.submit(Order("me", "{}", few, "few"))
    short = steps_to_claim(store)
    store.submit(Order("me", "{}", many, "many"))
    assert steps_to_claim(store) < 2 * short  # not hundreds of times as many
    store.close()


def test_an_image_that_was_put_back_does_not_wait_for_a_clock_that_jumped_back(
    tmp_path: Path,
) -> None:
    now_s = {"clock": 1e9, "timer": 0.0}
    store = SqliteJobs(
        tmp_path / "jobs",
        max_bytes=10_000,
        keep_s=60,
        clock=lambda: now_s["clock"],
        timer=lambda: now_s["timer"],
    )
    store.submit(Order("me", "{}", (("image", b"x"),), "d"))
    item = store.claim()
    assert item is not None
    store.put_back(item, delay_s=5)
    now_s |= {"clock": 1e9 - 1e6, "timer": 4.9}
    assert store.claim() is None
    now_s["timer"] = 5.0
    assert store.claim() == item
    store.close()
