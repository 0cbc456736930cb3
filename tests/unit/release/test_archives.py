from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from release.build import ROOT, pack, write_sums


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "model_repository"
    (folder / "nuclei/1").mkdir(parents=True)
    (folder / "nuclei/1/model.onnx").write_bytes(b"network")
    (folder / "nuclei/config.pbtxt").write_text("name: 'nuclei'\n", encoding="utf-8")
    return folder


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(
    models: Path, tmp_path: Path
) -> None:
    pack(models, tmp_path / "one.tar.gz", 1_700_000_000)
    os.utime(models / "nuclei/config.pbtxt", (0, 0))
    pack(models, tmp_path / "two.tar.gz", 1_700_000_000)
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_an_archive_unpacks_to_the_folder_it_was_made_of(models: Path, tmp_path: Path) -> None:
    pack(models, tmp_path / "models.tar.gz", 1_700_000_000)
    out = tmp_path / "out"
    out.mkdir()
    # By tar, as a user does: in Python 3.11.2, which Debian has, extractall takes no filter.
    subprocess.run(["tar", "-xzf", tmp_path / "models.tar.gz", "-C", out], check=True)
    assert (out / "model_repository/nuclei/1/model.onnx").read_bytes() == b"network"


def test_sums_are_those_that_sha256sum_checks(models: Path) -> None:
    folder = models / "nuclei/1"
    write_sums(folder)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True)


def test_the_release_tools_bring_what_the_wheel_is_built_with() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tools = declared["project"]["optional-dependencies"]["release"]
    assert set(declared["build-system"]["requires"]) <= set(tools)
