"""How a server is to run a model: ``config.pbtxt`` as the production image of Triton reads it.

The measurements behind the numbers are in docs/TRITON.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service import signature
from service.domain import TILE_PX, Priority
from service.errors import ArtefactError
from service.recipe import PARAMETER, Recipe

MAX_BATCH: Final = 8
"""Images per call at most."""

BATCHES: Final = (1, 2, 4, 8)
"""Batch sizes that are warmed up."""

_PLAIN_SIDE: Final = 256
_QUEUE_TIMEOUT_US: Final = 30_000_000
"""How long a request may wait in Triton's queue; a request's own timeout can only lower it."""

_QUEUE_SIZES: Final = {Priority.INTERACTIVE: 256, Priority.BACKGROUND: 64}
"""Requests that may wait; what nobody waits for waits in the gateway, at no cost to the server."""


def write_config(name: str, recipe: Recipe, channels: Mapping[str, int]) -> str:
    """Write a model's configuration.

    Parameters
    ----------
    name : str
        The model's.
    recipe : Recipe
        Travels inside.
    channels : mapping of str to int
        Maps per image of every output: Triton refuses a network whose fixed sizes the configuration
        leaves open.

    Returns
    -------
    str
        Protobuf text.
    """
    config = model_config_pb2.ModelConfig(
        name=name, backend="onnxruntime", max_batch_size=MAX_BATCH
    )
    image = config.input.add(name=signature.IMAGE, data_type=model_config_pb2.TYPE_UINT8)
    image.dims.extend([-1, -1, 3])
    for spec in recipe.outputs:
        dtype = model_config_pb2.DataType.Value(f"TYPE_{spec.dtype}")
        tensor = config.output.add(name=spec.name, data_type=dtype)
        tensor.dims.extend([channels[spec.name], -1, -1])
    config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_AUTO, count=1)
    # The version before the newest stays: calls on their way to it are answered after a reload.
    config.version_policy.latest.num_versions = 2
    add_queue(config.dynamic_batching)
    # Where any size may come, a new one costs a CPU nothing: a small image loads the code, one as
    # large as a tile takes the memory.
    if recipe.size_buckets:
        add_warmup(config, recipe.size_buckets, BATCHES, most_pixels=TILE_PX**2)
    else:
        add_warmup(config, _plain_sides(recipe), (1,), most_pixels=TILE_PX**2)
    config.parameters[PARAMETER].string_value = recipe.to_json()
    text: str = text_format.MessageToString(config)
    return text


def add_warmup(
    config: Any, sides: Sequence[int], batches: Sequence[int], *, most_pixels: int
) -> None:
    """Have every side and batch size run once before the model counts as ready.

    Parameters
    ----------
    config : ModelConfig
        Changed in place.
    sides : sequence of int
        Of square images.
    batches : sequence of int
        Images a call; what the model does not take is left out.
    most_pixels : int
        A call of several images that holds more than this is left out.
    """
    del config.model_warmup[:]
    for side in sides:
        for batch in batches:
            if batch > max(1, min(config.max_batch_size, most_pixels // side**2)):
                continue
            entry = config.model_warmup.add(name=f"{batch} of {side}", batch_size=batch)
            tensor = entry.inputs[signature.IMAGE]
            tensor.data_type = model_config_pb2.TYPE_UINT8
            tensor.dims.extend([side, side, 3])
            tensor.random_data = True


def read_config(folder: Path) -> Any:
    """Read the ``config.pbtxt`` of a model folder.

    Raises
    ------
    ArtefactError
        If it is missing, or no model configuration.
    """
    path = folder / "config.pbtxt"
    try:
        text = path.read_text(encoding="utf-8")
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from error
    except (ValueError, text_format.ParseError) as error:
        raise ArtefactError(f"{path}: no model configuration: {error}") from error


def read_recipe(folder: Path) -> Recipe:
    """Read the recipe in the ``config.pbtxt`` of a model folder.

    Raises
    ------
    ArtefactError
        As `read_config` does, and if there is no recipe in it, or none that can be used.
    """
    parameters = read_config(folder).parameters
    if PARAMETER not in parameters:
        raise ArtefactError(f"{folder / 'config.pbtxt'}: no parameter {PARAMETER!r}")
    try:
        return Recipe.from_json(parameters[PARAMETER].string_value)
    except ArtefactError as error:
        raise ArtefactError(f"{folder / 'config.pbtxt'}: {error}") from error


def network_folders(repository: Path) -> list[Path]:
    """Return the folders of a repository whose model is a network, not code or an ensemble.

    Raises
    ------
    ArtefactError
        If there is none, or a ``config.pbtxt`` is no model configuration.
    """
    folders = sorted(path.parent for path in repository.glob("*/config.pbtxt"))
    networks = [folder for folder in folders if read_config(folder).backend == "onnxruntime"]
    if not networks:
        raise ArtefactError(f"{repository} holds no model folder with a network")
    return networks


def configure(folder: Path, *, buckets: Sequence[int] | None = None) -> Path:
    """Write the ``config.pbtxt`` of a model folder anew; the network stays as it is.

    Parameters
    ----------
    folder : Path
        The model's.
    buckets : sequence of int, optional
        Sides that images are padded to from now on; empty: any multiple that the network takes;
        None: as before.

    Raises
    ------
    ArtefactError
        If a bucket is no multiple that the network takes.
    """
    config, recipe = read_config(folder), read_recipe(folder)
    if buckets is not None:
        recipe = replace(recipe, size_buckets=tuple(buckets))
    channels = {tensor.name: int(tensor.dims[0]) for tensor in config.output}
    path = folder / "config.pbtxt"
    path.write_text(write_config(config.name, recipe, channels), encoding="utf-8")
    return path


def _plain_sides(recipe: Recipe) -> list[int]:
    """Return the sides of a small image, and of one as large as a tile."""
    multiple = recipe.size_multiple
    return [max(side // multiple, 1) * multiple for side in (_PLAIN_SIDE, TILE_PX)]


def add_queue(batching: Any) -> None:
    """Say how requests wait: what somebody waits for first, and never without a bound."""
    # What waits already is joined when its shape is the same; no preferred size and no delay, with
    # which a lone request would wait for company that may never come.
    batching.priority_levels = len(Priority)
    batching.default_priority_level = Priority.INTERACTIVE
    for level, size in _QUEUE_SIZES.items():
        policy = batching.priority_queue_policy[level]
        policy.default_timeout_microseconds = _QUEUE_TIMEOUT_US
        policy.allow_timeout_override = True
        policy.max_queue_size = size
    batching.default_queue_policy.CopyFrom(batching.priority_queue_policy[Priority.INTERACTIVE])
