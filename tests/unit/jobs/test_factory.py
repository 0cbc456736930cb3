"""Which store the settings choose, and what is wrong with settings that choose none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.jobs.factory import choose_store
from service.settings import Settings


def test_a_file_is_opened_at_the_start_only_when_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    assert not choose_store(Settings(jobs_file=path)).at_start
    path.touch()
    assert choose_store(Settings(jobs_file=path)).at_start


def test_a_shared_store_is_opened_at_the_start() -> None:
    assert choose_store(Settings(jobs_store="redis://127.0.0.1:9")).at_start


def test_a_store_that_is_none_is_refused_and_its_password_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="redis://host:6379") as caught:
        choose_store(Settings(jobs_store="postgres://me:secret@host"))
    assert "secret" not in str(caught.value)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.jobs.redis_store", raising=False)
    monkeypatch.setitem(sys.modules, "service.jobs.redis_server", None)
    with pytest.raises(SettingsError, match=r"discern\[redis\]"):
        choose_store(Settings(jobs_store="redis://127.0.0.1:9"))
