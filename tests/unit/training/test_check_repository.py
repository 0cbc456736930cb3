"""Every planted fault of a model folder is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.networks import network, write_model
from training.deployment.repository import check_model, check_repository

SHIPPED = Path(__file__).parents[3] / "model_repository"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model, to be spoilt."""
    return Path(shutil.copytree(SHIPPED / "nuclei", tmp_path / "nuclei"))


def replace(old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.pbtxt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return spoil


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, data: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return spoil


def test_the_shipped_models_are_in_order() -> None:
    assert all(problems == [] for problems in check_repository(SHIPPED).values())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove("config.pbtxt"), "config.pbtxt is missing"),
        (write("config.pbtxt", b"{"), "no model configuration"),
        (write("config.pbtxt", "name: 'Körper'".encode("latin-1")), "no model configuration"),
        (replace('key: "segmentation"', 'key: "other"'), "no parameter 'segmentation'"),
        (replace('\\"embedding_size\\":', '\\"embeding_size\\":'), "unknown keys"),
        (replace('name: "nuclei"', 'name: "cells"'), "names the model 'cells'"),
        (replace('backend: "onnxruntime"', 'backend: "python"'), "backend is 'python'"),
        (replace("TYPE_UINT8", "TYPE_FP32"), "'image' is FP32 of rank 4, must be UINT8"),
        (replace('name: "foreground"', 'name: "front"'), "no tensor 'foreground'"),
        (replace("dims: 2\n", "dims: -1\n"), "embedding has dims [-1, -1, -1], the network [2"),
        (replace("max_queue_size: 256", ""), "the queue has no bound"),
        (remove("1/model.onnx"), "no <version>/model.onnx"),
        (write("1/model.onnx", b"no network"), "does not load"),
        (write("1/model.onnx", network("plain")), "network_sha256"),
        (remove("golden.png"), "golden.png is missing"),
        (write("golden.json", b'{"instances": []}'), "golden.json is not what"),
    ],
)
def test_a_fault_is_named(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    problems = check_model(folder)
    assert any(said in problem for problem in problems), problems


def test_a_model_that_cannot_tell_whether_it_works_is_reported(tmp_path: Path) -> None:
    problems = check_model(write_model(tmp_path, "plain"))
    assert any("no golden image" in problem for problem in problems)


def test_a_network_that_answers_the_golden_image_otherwise_is_reported(folder: Path) -> None:
    (folder / "1" / "model.onnx").write_bytes(network("plain"))
    assert any("golden image" in problem for problem in check_model(folder))
