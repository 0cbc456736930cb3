"""The configuration of a model for GPUs: a variant beside ``config.pbtxt``, chosen by name.

``tritonserver --model-config-name=tensorrt`` reads ``configs/tensorrt.pbtxt`` in place of
``config.pbtxt``. The network stays the same file: ONNX Runtime hands it to TensorRT, which builds
its engines once and keeps them.

References
----------
https://github.com/triton-inference-server/onnxruntime_backend (accelerators, their parameters)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service import signature
from service.recipe import PARAMETER, Recipe
from training.deployment.server_config import BATCHES, add_warmup, network_folders, read_config

VARIANT: Final = "tensorrt"
SIDES: Final = (256, 512, 768, 1024)
"""Sides that images are padded to: only calls of one shape form a batch, and every new shape costs
an engine or a search for the fastest convolution."""

ENGINE_CACHE: Final = "/tmp/discern-engines"  # noqa: S108 - a path in the server's container
_WORKSPACE_BYTES: Final = 2 * 2**30
_MEMORY_BYTES: Final = 4 * 2**30
"""Of ONNX Runtime on the GPU: twice what 8 images of 1024 pixels take in one call on a CPU."""

_QUEUE_DELAY_US: Final = 2_000


def write_variants(repository: Path) -> list[Path]:
    """Write the variant of every model of a repository.

    Returns
    -------
    list of Path
        The files.
    """
    written = []
    for folder in network_folders(repository):
        target = folder / "configs" / f"{VARIANT}.pbtxt"
        target.parent.mkdir(exist_ok=True)
        target.write_text(text_format.MessageToString(tensorrt_variant(read_config(folder))))
        written.append(target)
    return written


def tensorrt_variant(config: Any) -> Any:
    """Return a model's configuration for GPUs.

    Parameters
    ----------
    config : ModelConfig
        As `training.deployment.export` writes it; stays as it is.

    Returns
    -------
    ModelConfig
        The same model with TensorRT, size buckets, and warm-up of every bucket and batch size.
    """
    variant = model_config_pb2.ModelConfig()
    variant.CopyFrom(config)
    recipe = Recipe.from_json(config.parameters[PARAMETER].string_value)
    sides = tuple(side for side in SIDES if side % recipe.size_multiple == 0)
    variant.parameters[PARAMETER].string_value = replace(recipe, size_buckets=sides).to_json()
    # What TensorRT does not take runs on CUDA: no search per shape, memory as it is asked for.
    variant.parameters["cudnn_conv_algo_search"].string_value = "1"
    variant.parameters["arena_extend_strategy"].string_value = "1"
    variant.dynamic_batching.max_queue_delay_microseconds = _QUEUE_DELAY_US
    variant.parameters["gpu_mem_limit"].string_value = str(_MEMORY_BYTES)
    _accelerate(variant, recipe.size_multiple, sides[-1], config.max_batch_size)
    add_warmup(variant, sides, BATCHES, most_pixels=config.max_batch_size * sides[-1] ** 2)
    return variant


def _accelerate(config: Any, smallest: int, largest: int, batch: int) -> None:
    del config.optimization.execution_accelerators.gpu_execution_accelerator[:]
    tensorrt = config.optimization.execution_accelerators.gpu_execution_accelerator.add(
        name="tensorrt"
    )
    middle = min(512, largest)
    tensorrt.parameters.update(
        {
            "precision_mode": "FP16",
            "max_workspace_size_bytes": str(_WORKSPACE_BYTES),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": ENGINE_CACHE,
            "trt_timing_cache_enable": "1",
            "trt_profile_min_shapes": f"{signature.IMAGE}:1x{smallest}x{smallest}x3",
            "trt_profile_opt_shapes": f"{signature.IMAGE}:{batch}x{middle}x{middle}x3",
            "trt_profile_max_shapes": f"{signature.IMAGE}:{batch}x{largest}x{largest}x3",
        }
    )
