"""The file of jobs: whose it is, and what happens when it cannot be read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import JobsUnavailable
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
