"""The model folder: parity with PyTorch, the contract, the golden answer, what is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from service import signature
from service.backends.model_config import model_from_config, parse_config
from service.domain import Prediction
from tests.unit.training.conftest import TINY, Recorder
from training.config.experiment import Config
from training.data.golden import golden_scenes
from training.data.synthetic import NucleiDataset
from training.deployment import export
from training.loop import engine
from training.models.build import build_model
from training.models.network import PixelNetwork
from training.models.serving import served
from training.scoring.decoding import recipe_of, segment


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> PixelNetwork:
    """A network that has seen enough to find something."""
    config = replace(TINY, optim=replace(TINY.optim, steps=25, validate_every_steps=25, ema=0.5))
    data = NucleiDataset(count=8, size=64, min_objects=3, max_objects=6, radius_px=8)
    folder = tmp_path_factory.mktemp("run")
    state = engine.train(config, data, data, folder, Recorder())
    model = build_model(config)
    model.load_state_dict(state.average)
    return model


@pytest.fixture(scope="module")
def folder(trained: PixelNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported model folder."""
    return export.export(trained, TINY, tmp_path_factory.mktemp("repository"), card="# tiny\n")


def test_the_folder_holds_what_the_design_names(folder: Path) -> None:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["1/model.onnx", "MODEL_CARD.md", "config.pbtxt", "golden.json", "golden.png"]


def test_the_gateway_reads_its_configuration(folder: Path) -> None:
    config = parse_config((folder / "config.pbtxt").read_text())
    model = model_from_config(config, "1")
    data = (folder / "1" / "model.onnx").read_bytes()
    assert model.name == "tiny"
    assert model.max_batch == 8
    assert model.recipe.network_sha256 == hashlib.sha256(data).hexdigest()
    assert model.recipe.decoder == {"bandwidth": 1.5, "min_pixels": 8}
    assert config.backend == "onnxruntime"
    assert config.HasField("dynamic_batching")
    assert config.model_warmup[0].inputs["image"].dims == [256, 256, 3]


def test_the_network_names_no_path_of_the_machine_that_exported(folder: Path) -> None:
    network = (folder / "1" / "model.onnx").read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in network
    assert b".py" not in network


def test_weights_are_stored_in_half_precision(folder: Path) -> None:
    model = onnx.load(str(folder / "1" / "model.onnx"))
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) > 1]
    assert len(weights) > 5
    assert {weight.dtype for weight in weights} == {np.dtype(np.float16)}
    assert [(i.domain, i.version) for i in model.opset_import] == [("", export.OPSET)]


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (2, 20, 36, 3), (8, 64, 8, 3), (1, 256, 320, 3)])
def test_onnx_answers_like_pytorch_at_any_size(
    folder: Path, trained: PixelNetwork, shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(9)
    image = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    session = export.open_artefact(folder).session
    with torch.inference_mode():
        expected = served(trained, "discriminative")(image)
    found = session.run([signature.EMBEDDING, signature.FOREGROUND], {"image": image.numpy()})
    for wanted, got in zip(expected, found, strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got, wanted.numpy(), rtol=2e-3, atol=2e-2)


def test_the_golden_answer_is_what_the_serving_code_finds(folder: Path) -> None:
    artefact = export.open_artefact(folder)
    golden = artefact.recipe.golden
    assert golden is not None
    png = (folder / "golden.png").read_bytes()
    pixels: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    labels = segment(artefact, pixels, artefact.recipe)
    answer = json.loads((folder / "golden.json").read_text())
    assert base64.b64decode(golden.image_png_base64) == png
    assert np.array_equal(pixels, next(golden_scenes("folder")).image)
    assert answer == {"instances": golden.instances}
    assert [entry["area"] for entry in golden.instances] == np.bincount(labels.ravel())[1:].tolist()


def test_a_network_that_differs_from_pytorch_is_refused(
    folder: Path, trained: PixelNetwork
) -> None:
    model = onnx.load(str(folder / "1" / "model.onnx"))
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    changed = numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float16(1.5), tensor.name)
    tensor.CopyFrom(changed)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    session = export.open_session(buffer.getvalue())
    with pytest.raises(export.ExportError, match="differs from PyTorch"):
        export.check_parity(served(trained, "discriminative"), session, multiple=4)


def test_a_network_of_another_size_is_refused(folder: Path, tiny: Config) -> None:
    other = build_model(replace(tiny, model=replace(tiny.model, embedding_size=5)))
    session = export.open_artefact(folder).session
    with pytest.raises(export.ExportError, match="shape"):
        export.check_parity(served(other, "discriminative"), session, multiple=4)


def test_a_network_that_finds_nothing_in_the_golden_image_is_not_written(
    tiny: Config, tmp_path: Path
) -> None:
    model = build_model(tiny)
    torch.nn.init.constant_(cast(Tensor, model.foreground.project.bias), -100.0)
    with pytest.raises(export.ExportError, match="--golden"):
        export.export(model, tiny, tmp_path, card="")
    assert list(tmp_path.iterdir()) == []


class FindsOn:
    """Sees one object in every image that is brighter than a grey level, and none in others."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.recipe = replace(recipe_of(TINY), size_multiple=1)

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        logit = 9.0 if image.mean() > self.level else -9.0
        vectors = np.zeros((TINY.model.embedding_size, *image.shape[:2]), np.float16)
        return Prediction(vectors, np.full((1, *image.shape[:2]), logit, np.float16))


def test_the_first_picture_in_which_something_is_found_is_taken() -> None:
    dark, bright = np.full((8, 9), 10, np.uint8), np.full((8, 9), 200, np.uint8)
    network = cast(export.Artefact, FindsOn(100))
    golden = export.first_golden(network, [dark, bright])
    png = np.frombuffer(base64.b64decode(golden.image_png_base64), np.uint8)
    assert np.array_equal(np.asarray(cv2.imdecode(png, cv2.IMREAD_UNCHANGED)), bright)
    with pytest.raises(export.ExportError, match="golden image"):
        export.first_golden(network, [dark])
