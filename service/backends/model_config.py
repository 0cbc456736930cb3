"""What a model's configuration says, whichever way it reached us: as text or from a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service import signature
from service.backends.base import Model
from service.errors import ArtefactError
from service.recipe import PARAMETER, Recipe


def parse_config(text: str) -> Any:
    """Parse ``config.pbtxt``.

    Parameters
    ----------
    text : str
        Triton's model configuration in protobuf text form.

    Returns
    -------
    ModelConfig
        The protobuf message.

    Raises
    ------
    ArtefactError
        If the text is no model configuration.
    """
    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ArtefactError(f"config.pbtxt: {error}") from error


def read_folder(folder: Path) -> Any:
    """Read the configuration of a model folder, by whose name the model goes if it has no other.

    Raises
    ------
    ArtefactError
        If it is no model configuration.
    OSError
        If it cannot be read.
    """
    try:
        config = parse_config((folder / "config.pbtxt").read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ArtefactError(f"model {folder.name}: config.pbtxt is not in UTF-8") from error
    except ArtefactError as error:
        raise ArtefactError(f"model {folder.name}: {error}") from error
    config.name = config.name or folder.name
    return config


def is_network(config: Any) -> bool:
    """Return whether a model is a network; ensembles and Python code only a server runs."""
    return bool(config.platform != "ensemble" and config.backend != "python")


def model_from_config(config: Any, version: str) -> Model:
    """Read what the gateway needs to know about one version of a model.

    Parameters
    ----------
    config : ModelConfig
        From `parse_config`, or from the server's model config call.
    version : str
        The version it is asked for.

    Raises
    ------
    ArtefactError
        If the recipe is missing or wrong, or the declared tensors break the contract.
    """
    if PARAMETER not in config.parameters:
        raise ArtefactError(f"model {config.name}: config.pbtxt has no parameter {PARAMETER!r}")
    try:
        recipe = Recipe.from_json(config.parameters[PARAMETER].string_value)
    except ArtefactError as error:
        raise ArtefactError(f"model {config.name}: {error}") from error
    _check_tensors(config, recipe)
    return Model(
        name=config.name,
        version=version,
        recipe=recipe,
        max_batch=max(1, config.max_batch_size),
        channels={output.name: int(output.dims[0]) for output in config.output},
    )


def _check_tensors(config: Any, recipe: Recipe) -> None:
    declared_in = {tensor.name: _dtype(tensor) for tensor in config.input}
    wanted_in = {signature.INPUT.name: signature.INPUT.dtype}
    if declared_in != wanted_in:
        raise ArtefactError(f"model {config.name}: inputs are {declared_in}, must be {wanted_in}")
    declared_out = {tensor.name: _dtype(tensor) for tensor in config.output}
    wanted_out = {spec.name: spec.dtype for spec in recipe.outputs}
    if declared_out != wanted_out:
        raise ArtefactError(
            f"model {config.name}: outputs are {declared_out}, "
            f"method {recipe.method!r} needs {wanted_out}"
        )


def _dtype(tensor: Any) -> str:
    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return name.removeprefix("TYPE_")
