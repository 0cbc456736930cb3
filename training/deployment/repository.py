"""What is wrong with a model folder, before a server finds out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service import signature
from service.errors import ArtefactError
from service.postprocess.extract import extract
from service.postprocess.labelled import ExtractOptions
from service.recipe import PARAMETER, Recipe
from training.deployment.export import open_artefact

ONNX_DTYPES = {"tensor(uint8)": "UINT8", "tensor(float16)": "FP16", "tensor(float)": "FP32"}


def check_repository(repository: Path) -> dict[str, list[str]]:
    """Look at every model folder of a repository.

    Parameters
    ----------
    repository : Path
        The folder that Triton or the gateway is given.

    Returns
    -------
    dict of str to list of str
        By model folder, what is wrong with it; an empty list is a good folder.

    Raises
    ------
    ArtefactError
        If there is no such repository.
    """
    if not repository.is_dir():
        raise ArtefactError(f"{repository}: no such folder")
    folders = sorted(path for path in repository.iterdir() if path.is_dir())
    return {folder.name: check_model(folder) for folder in folders}


def check_model(folder: Path) -> list[str]:
    """Return what is wrong with one model folder, a sentence each."""
    path = folder / "config.pbtxt"
    if not path.is_file():
        return ["config.pbtxt is missing"]
    try:
        text = path.read_text(encoding="utf-8")
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
    except (ValueError, text_format.ParseError) as error:
        return [f"config.pbtxt is no model configuration: {error}"]
    if config.platform == "ensemble":
        return list(_step_problems(folder, config))
    if config.backend == "python" and PARAMETER not in config.parameters:
        found = (folder / "1" / "model.py").is_file()
        return [] if found else ["1/model.py is missing"]
    if PARAMETER not in config.parameters:
        return [f"config.pbtxt has no parameter {PARAMETER!r}: the gateway leaves the model out"]
    try:
        recipe = Recipe.from_json(config.parameters[PARAMETER].string_value)
    except ArtefactError as error:
        return [error.detail]
    return [
        *_config_problems(config, recipe, folder.name),
        *_network_problems(folder, config, recipe),
        *_golden_problems(folder, recipe),
    ]


def _step_problems(folder: Path, config: Any) -> Iterator[str]:
    for step in config.ensemble_scheduling.step:
        if not (folder.parent / step.model_name / "config.pbtxt").is_file():
            yield f"its step {step.model_name!r} is no model of this repository"
    if not (folder / "1").is_dir():
        yield "the folder of its version, 1/, is missing"


def _config_problems(config: Any, recipe: Recipe, name: str) -> Iterator[str]:
    if config.name not in ("", name):
        yield f"config.pbtxt names the model {config.name!r}, its folder is {name!r}"
    if config.backend != "onnxruntime":
        yield f"backend is {config.backend!r}, must be 'onnxruntime'"
    yield from _tensor_problems("config.pbtxt", _declared(config, recipe), recipe)
    sizes = {tensor.name: tensor.dims[0] for tensor in config.output}
    for output, size in recipe.channels.items():
        if sizes.get(output, size) != size:
            yield f"config.pbtxt: {output} has {sizes[output]} maps, the recipe says {size}"
    yield from _policy_problems(config, recipe)


def _policy_problems(config: Any, recipe: Recipe) -> Iterator[str]:
    kinds = {group.kind for group in config.instance_group}
    if model_config_pb2.ModelInstanceGroup.KIND_GPU in kinds:
        yield "an instance group is KIND_GPU: without a GPU the server would not start"
    policy = config.dynamic_batching.default_queue_policy
    if config.HasField("dynamic_batching") and not policy.max_queue_size:
        yield "the queue has no bound (max_queue_size): overload would end in memory"
    if policy.allow_timeout_override and not policy.default_timeout_microseconds:
        yield "default_timeout_microseconds is 0: Triton then ignores a request's own timeout"
    if not config.model_warmup:
        yield "no model_warmup: the first requests would pay for it"
    warm = {side for entry in config.model_warmup for side in entry.inputs[signature.IMAGE].dims}
    for side in sorted(set(recipe.size_buckets) - warm):
        yield f"the bucket of {side} pixels is not warmed up"


def _declared(config: Any, recipe: Recipe) -> dict[str, tuple[str, int]]:
    batch = 1 if config.max_batch_size else 0
    wanted = [signature.INPUT, *recipe.outputs]
    types = {
        tensor.name: (
            model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_"),
            len(tensor.dims) + batch,
        )
        for tensor in (*config.input, *config.output)
    }
    return {spec.name: types[spec.name] for spec in wanted if spec.name in types}


def _tensor_problems(
    where: str, found: dict[str, tuple[str, int]], recipe: Recipe
) -> Iterator[str]:
    for spec in (signature.INPUT, *recipe.outputs):
        if spec.name not in found:
            yield f"{where}: no tensor {spec.name!r}, which method {recipe.method!r} needs"
        elif found[spec.name] != (spec.dtype, spec.rank):
            dtype, rank = found[spec.name]
            yield (
                f"{where}: {spec.name!r} is {dtype} of rank {rank}, "
                f"must be {spec.dtype} of rank {spec.rank}"
            )


def _network_problems(folder: Path, config: Any, recipe: Recipe) -> Iterator[str]:
    versions = sorted(path for path in folder.glob("*/model.onnx") if path.parent.name.isdigit())
    if not versions:
        yield "there is no <version>/model.onnx"
    for path in versions:
        data = path.read_bytes()
        where = f"{path.parent.name}/model.onnx"
        try:
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises many kinds
            yield f"{where} does not load: {error}"
            continue
        nodes = (*session.get_inputs(), *session.get_outputs())
        found = {n.name: (ONNX_DTYPES.get(n.type, n.type), len(n.shape)) for n in nodes}
        yield from _tensor_problems(where, found, recipe)
        yield from _size_problems(config, session.get_outputs())
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in versions}
    if versions and recipe.network_sha256 not in digests:
        yield "the recipe's network_sha256 is that of no version here"


def _size_problems(config: Any, outputs: list[Any]) -> Iterator[str]:
    shapes = {node.name: node.shape for node in outputs}
    for tensor in config.output:
        if tensor.name not in shapes:
            yield f"config.pbtxt: the network has no output {tensor.name!r}"
            continue
        sizes = [size if isinstance(size, int) else -1 for size in shapes[tensor.name][1:]]
        if list(tensor.dims) != sizes:
            yield f"config.pbtxt: {tensor.name} has dims {list(tensor.dims)}, the network {sizes}"


def _golden_problems(folder: Path, recipe: Recipe) -> Iterator[str]:
    golden = recipe.golden
    if golden is None:
        yield "the recipe has no golden image: nothing tells whether the model works"
        return
    png = base64.b64decode(golden.image_png_base64)
    answer = {"instances": golden.instances}
    readers: dict[str, tuple[Callable[[bytes], Any], Any]] = {
        "golden.png": (bytes, png),
        "golden.json": (json.loads, answer),
    }
    for name, (read, wanted) in readers.items():
        if not (folder / name).is_file():
            yield f"{name} is missing"
        elif read((folder / name).read_bytes()) != wanted:
            yield f"{name} is not what the recipe carries"
    if (folder / "1" / "model.onnx").is_file():
        yield from _answer_problems(folder, png, len(golden.instances))


def _answer_problems(folder: Path, png: bytes, wanted: int) -> Iterator[str]:
    image: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    try:
        artefact = open_artefact(folder)
        prediction = artefact.predict(image)
        found = extract(prediction, artefact.recipe, image.shape[:2], ExtractOptions()).instances
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises many kinds
        yield f"the golden image is not answered: {error}"
        return
    if len(found) != wanted:
        yield f"the golden image has {wanted} instances, {len(found)} are found"
