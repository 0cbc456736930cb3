"""What the image leaves out is not missed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from docker.trim import drop_symbols, main


def compiled(name: str) -> Path:
    """The file of a compiled module."""
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


@pytest.mark.parametrize("name", ["rapidjson", "orjson.orjson"])
def test_a_module_without_its_symbols_works(name: str, tmp_path: Path) -> None:
    original = compiled(name)
    module = Path(shutil.copy(original, tmp_path / original.name))
    drop_symbols(module)
    assert module.stat().st_size < original.stat().st_size
    load = (
        "import importlib.util as u, sys; s = u.spec_from_file_location(*sys.argv[1:]); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); print(len(dir(m)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", load, name.rpartition(".")[2], str(module)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_what_is_no_compiled_module_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "libscript.so"
    file.write_text("INPUT(libc.so.6)")
    drop_symbols(file)
    assert file.read_text() == "INPUT(libc.so.6)"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lib.so").symlink_to("nowhere.so.1")
    drop_symbols(tmp_path / "lib.so")
    assert (tmp_path / "lib.so").is_symlink()


def test_a_pattern_that_finds_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.11/site-packages").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"tests finds nothing"):
        main(tmp_path)
