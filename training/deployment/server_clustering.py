"""A second stage on the server: the model folders that cluster there and return a label map.

An ensemble of the network and of `training.deployment.server_model` in Triton's python backend, for
gateways that are far from their server: 2 bytes a pixel travel in place of the embedding. The
server's container must have PyTorch; the network's own folder stays as it is and is served beside
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service import signature
from service.recipe import PARAMETER, Recipe
from service.signature import TensorSpec
from training.deployment.export import ExportError
from training.deployment.server_config import add_queue, read_config, read_recipe

SOURCE: Final = Path(__file__).parent / "server_model"
PACKAGE: Final = "training.deployment.server_model"
FILES: Final = ("model.py", "clustering.py", "joining.py")
METHODS: Final = ("discriminative",)
_DIMS: Final[Mapping[str, tuple[int, ...]]] = {
    signature.LABELS: (-1, -1),
    signature.SCORES: (-1,),
    signature.CLASSES: (-1,),
}


def write_clustering(folder: Path) -> tuple[Path, Path]:
    """Write the clustering stage of a model, and the model that is network and stage in one.

    Parameters
    ----------
    folder : Path
        Of the network's model, ``nuclei``; the new ones lie beside it.

    Returns
    -------
    tuple of Path
        ``nuclei-clustering``, which only the server calls, and ``nuclei-labels``.

    Raises
    ------
    ExportError
        If the model's method clusters in another way.
    ArtefactError
        If the folder holds no model.
    """
    config, recipe = read_config(folder), read_recipe(folder)
    if recipe.method not in METHODS:
        raise ExportError(
            f"{folder}: the server clusters for {', '.join(METHODS)}, not for {recipe.method}"
        )
    stage, whole = (folder.with_name(f"{folder.name}-{part}") for part in ("clustering", "labels"))
    (stage / "1").mkdir(parents=True, exist_ok=True)
    for name in FILES:
        # In the folder they lie side by side, and Triton puts it on the path.
        text = (SOURCE / name).read_text(encoding="utf-8")
        (stage / "1" / name).write_text(text.replace(f"{PACKAGE}.", ""), encoding="utf-8")
    _write(stage, _stage_config(config, recipe, stage.name))
    (whole / "1").mkdir(parents=True, exist_ok=True)  # an ensemble has a version, but no file
    _write(whole, _ensemble_config(config, recipe, stage.name, whole.name))
    return stage, whole


def _stage_config(network: Any, recipe: Recipe, name: str) -> Any:
    config = model_config_pb2.ModelConfig(
        name=name, backend="python", max_batch_size=network.max_batch_size
    )
    config.input.extend(
        model_config_pb2.ModelInput(name=t.name, data_type=t.data_type, dims=t.dims)
        for t in network.output
    )
    _add_outputs(config)
    config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_AUTO, count=1)
    add_queue(config.dynamic_batching)
    config.parameters["recipe"].string_value = replace(recipe, golden=None).to_json()
    # On a GPU the network's tensors stay there.
    config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"
    return config


def _ensemble_config(network: Any, recipe: Recipe, stage: str, name: str) -> Any:
    config = model_config_pb2.ModelConfig(
        name=name, platform="ensemble", max_batch_size=network.max_batch_size
    )
    config.input.extend(network.input)
    _add_outputs(config)
    between = [spec.name for spec in recipe.outputs]
    first = config.ensemble_scheduling.step.add(model_name=network.name, model_version=-1)
    first.input_map[signature.IMAGE] = signature.IMAGE
    second = config.ensemble_scheduling.step.add(model_name=stage, model_version=-1)
    for tensor in between:
        first.output_map[tensor] = f"network_{tensor}"
        second.input_map[tensor] = f"network_{tensor}"
    for spec in signature.CLUSTERED:
        second.output_map[spec.name] = spec.name
    # The stage knows the curve of the scores, and sends what comes out of it.
    own = replace(recipe, clustered=True, score_calibration=())
    config.parameters[PARAMETER].string_value = own.to_json()
    return config


def _add_outputs(config: Any) -> None:
    for spec in signature.CLUSTERED:
        tensor = config.output.add(name=spec.name, data_type=_dtype(spec))
        tensor.dims.extend(_DIMS[spec.name])


def _dtype(spec: TensorSpec) -> Any:
    return model_config_pb2.DataType.Value(f"TYPE_{spec.dtype}")


def _write(folder: Path, config: Any) -> None:
    text = text_format.MessageToString(config)
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")
