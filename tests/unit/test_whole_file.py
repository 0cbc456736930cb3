"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.whole_file import whole_file


def test_two_who_write_the_same_file_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.json"

    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"

    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_one_who_fails_leaves_the_file_of_another(tmp_path: Path) -> None:
    path = tmp_path / "nuclei.json"

    with whole_file(path) as first:
        first.write_text("first")
        with pytest.raises(IsADirectoryError), whole_file(path):
            tmp_path.read_bytes()

    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
