"""The variant for GPUs is the same model with other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service.recipe import PARAMETER, Recipe
from tests.contract.networks import write_model
from training.deployment.gpu_config import SIDES, tensorrt_variant, write_variants


@pytest.fixture
def config(tmp_path: Path) -> Any:
    text = (write_model(tmp_path, "plain") / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def recipe(config: Any) -> Recipe:
    return Recipe.from_json(config.parameters[PARAMETER].string_value)


def test_tensors_and_recipe_stay_the_same_but_for_the_buckets(config: Any) -> None:
    variant = tensorrt_variant(config)
    assert list(variant.input) == list(config.input)
    assert list(variant.output) == list(config.output)
    assert recipe(variant).size_buckets == SIDES
    assert recipe(variant).network_sha256 == recipe(config).network_sha256


def test_every_bucket_and_batch_size_is_warmed_up(config: Any) -> None:
    warm = {
        (entry.batch_size, entry.inputs["image"].dims[0])
        for entry in tensorrt_variant(config).model_warmup
    }
    assert warm == {(batch, side) for batch in (1, 2, 4) for side in SIDES}


def test_profiles_span_from_the_smallest_image_to_the_largest_batch(config: Any) -> None:
    [accelerator] = tensorrt_variant(
        config
    ).optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_min_shapes"] == "image:1x2x2x3"
    assert accelerator.parameters["trt_profile_max_shapes"] == "image:4x1024x1024x3"


def test_the_configuration_it_is_made_from_is_left_alone(config: Any) -> None:
    before = config.SerializeToString(deterministic=True)
    tensorrt_variant(config)
    assert config.SerializeToString(deterministic=True) == before


def test_a_variant_is_written_beside_every_configuration(tmp_path: Path) -> None:
    write_model(tmp_path, "one")
    write_model(tmp_path, "two")
    written = write_variants(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "one/configs/tensorrt.pbtxt",
        "two/configs/tensorrt.pbtxt",
    ]
    config = text_format.Parse(written[0].read_text(), model_config_pb2.ModelConfig())
    assert recipe(config).size_buckets == SIDES
