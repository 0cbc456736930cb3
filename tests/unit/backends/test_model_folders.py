"""What a model folder may not say, and what is said of it; what tensors may not look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.backends.base import Model
from service.backends.model_config import model_from_config, parse_config, read_folder
from service.backends.tensors import check_outputs
from service.domain import Category
from service.errors import ArtefactError, BackendFailed
from service.recipe import PARAMETER, Recipe

RECIPE = Recipe(
    method="discriminative",
    embedding_size=2,
    classes=(Category(1, "nucleus"),),
    size_multiple=16,
    score_calibration=(0.5, 2.0, -1.0),
    min_score=0.25,
)


def changed(**values: Any) -> str:
    return json.dumps(json.loads(RECIPE.to_json()) | values)


def test_a_recipe_survives_being_written() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        (changed(colour="red", age=3), "unknown keys age, colour"),
        ('{"method": "spatial"}', "classes"),
        (changed(classes=[{"name": "nucleus"}]), "id"),
        (changed(golden={"image": ""}), "image"),
        (changed(method="voting"), "method 'voting' is not one of discriminative, "),
        (changed(embedding_size=0), "embedding_size is 0, must be 1 or more"),
        (changed(stride=-1), "stride is -1, must be 1 or more"),
        (changed(classes=[]), "classes is empty"),
        (changed(size_buckets=[16, 24]), r"size_buckets \(16, 24\) must be multiples of 16"),
        (changed(foreground_threshold=1), "foreground_threshold is 1, must lie in"),
        (changed(embedding_scale=[0.1]), "must be 2 positive numbers, or none"),
        (changed(embedding_scale=[0.1, 0]), "must be 2 positive numbers, or none"),
        (changed(score_calibration=[1, 0]), "must be two slopes and an offset, or none"),
        (changed(min_score=1.5), r"min_score is 1.5, must lie in \[0, 1\]"),
        (changed(object_px=-1.0), "object_px is -1.0, must be 0 or more"),
    ],
)
def test_a_recipe_that_no_decoder_could_use_is_refused(text: str, words: str) -> None:
    with pytest.raises(ArtefactError, match=f"^recipe: .*{words}"):
        Recipe.from_json(text)


def config(*, inputs: str = "", outputs: str = "", recipe: str | None = None) -> Any:
    inputs = inputs or 'input { name: "image" data_type: TYPE_UINT8 dims: [-1, -1, 3] }'
    outputs = outputs or (
        'output { name: "embedding" data_type: TYPE_FP16 dims: [2, -1, -1] }'
        'output { name: "foreground" data_type: TYPE_FP16 dims: [1, -1, -1] }'
    )
    parsed = parse_config(f'name: "blobs" max_batch_size: 4 {inputs} {outputs}')
    if recipe is not None:
        parsed.parameters[PARAMETER].string_value = recipe
    return parsed


def test_a_configuration_tells_all_that_the_gateway_needs() -> None:
    model = model_from_config(config(recipe=RECIPE.to_json()), "3")
    assert model == Model("blobs", "3", RECIPE, 4, {"embedding": 2, "foreground": 1})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, f"blobs: config.pbtxt has no parameter '{PARAMETER}'"),
        (
            {"recipe": RECIPE.to_json(), "inputs": 'input { name: "x" data_type: TYPE_FP32 }'},
            r"blobs: inputs are \{'x': 'FP32'\}, must be \{'image': 'UINT8'\}",
        ),
        (
            {"recipe": RECIPE.to_json(), "outputs": 'output { name: "y" data_type: TYPE_FP16 }'},
            r"blobs: outputs are .*'y'.*, method 'discriminative' needs .*'embedding'",
        ),
        (
            {"recipe": changed(decoder={"bandwith": 1})},
            "^model blobs: recipe: decoder: 'bandwith' is not one of bandwidth, ",
        ),
    ],
)
def test_a_configuration_that_breaks_the_contract_is_refused(
    parts: dict[str, str], words: str
) -> None:
    with pytest.raises(ArtefactError, match=words):
        model_from_config(config(**parts), "1")


def test_a_text_that_is_no_configuration_is_refused() -> None:
    with pytest.raises(ArtefactError, match=r"^config\.pbtxt: "):
        parse_config("name = blobs")


@pytest.mark.parametrize(
    ("written", "words"),
    [("name = blobs", r"config\.pbtxt: 1:6"), ("name: 'Körper'", "is not in UTF-8")],
)
def test_a_folder_whose_configuration_cannot_be_read_is_named(
    tmp_path: Path, written: str, words: str
) -> None:
    (tmp_path / "config.pbtxt").write_text(written, encoding="latin-1")
    with pytest.raises(ArtefactError, match=f"^model {tmp_path.name}: .*{words}"):
        read_folder(tmp_path)


def half(*shape: int) -> np.ndarray[Any, np.dtype[np.float16]]:
    return np.zeros(shape, np.float16)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"foreground": half(1, 1, 16, 32)}, "sent no output 'embedding'"),
        (
            {"embedding": half(1, 2, 16, 32).astype(np.float32)},
            "output 'embedding' is float32, must be FP16",
        ),
        (
            {"embedding": half(1, 3, 16, 32)},
            r"output 'embedding' has shape \(1, 3, 16, 32\), must be \(1, 2, 16, 32\)",
        ),
        (
            {"embedding": half(1, 2, 16, 32), "foreground": half(1, 1, 16, 16)},
            r"output 'foreground' has shape \(1, 1, 16, 16\), must be \(1, 1, 16, 32\)",
        ),
    ],
)
def test_tensors_that_no_decoder_could_read_are_refused(
    tensors: dict[str, Any], words: str
) -> None:
    with pytest.raises(BackendFailed, match=f"model 'blobs'.* {words}"):
        check_outputs(tensors, Model("blobs", "1", RECIPE), (1, 16, 32, 3))
