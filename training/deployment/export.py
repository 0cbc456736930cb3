"""From a checkpoint to the folder that is served: network, configuration, golden image, card.

Fails when the exported network's output differs from PyTorch's, or the folder would be refused.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import logging
import warnings
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from service import signature
from service.arrays import UInt8
from service.domain import Prediction
from service.errors import ArtefactError
from service.imaging.geometry import fit
from service.postprocess.extract import extract
from service.postprocess.labelled import ExtractOptions
from service.recipe import Golden, Recipe
from training.config.experiment import Config
from training.data.golden import golden_scenes
from training.deployment.server_config import MAX_BATCH, read_recipe, write_config
from training.models.network import PixelNetwork
from training.models.serving import ServedNetwork, served
from training.scoring.decoding import as_prediction, as_rgb, recipe_of

OPSET = 18
"""Read by ONNX Runtime from 1.14 on, so by Triton 24.10."""

PARITY = 2e-3
"""Largest difference allowed, relative to the largest value of an output: twice half precision."""


class ExportError(RuntimeError):
    """The artefact would not be right: nothing was written."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model folder, opened for evaluation.

    Parameters
    ----------
    recipe : Recipe
        From its configuration.
    session : InferenceSession
        ONNX Runtime on its network.
    """

    recipe: Recipe
    session: Any

    def predict(self, image: UInt8) -> Prediction:
        """Run the network on one image as the gateway does.

        Parameters
        ----------
        image : (H, W) or (H, W, 3) uint8
            Grey or RGB.
        """
        fitted = fit(as_rgb(image), multiple=self.recipe.size_multiple)
        names = [spec.name for spec in self.recipe.outputs]
        arrays = self.session.run(names, {signature.IMAGE: fitted[None]})
        return as_prediction(dict(zip(names, (array[0] for array in arrays), strict=True)))


def open_artefact(folder: Path, *, threads: int = 1) -> Artefact:
    """Open an exported model folder.

    Raises
    ------
    ArtefactError
        If its configuration or its network is missing or cannot be read.
    """
    recipe = read_recipe(folder)
    path = folder / "1" / "model.onnx"
    try:
        return Artefact(recipe, open_session(path.read_bytes(), threads=threads))
    except OSError as error:
        raise ArtefactError(f"{path}: {error.strerror}") from error
    except Exception as error:  # ONNX Runtime raises many kinds
        raise ArtefactError(f"{path}: no network that ONNX Runtime can load: {error}") from error


def export(
    model: PixelNetwork,
    config: Config,
    repository: Path,
    *,
    card: str,
    golden: UInt8 | None = None,
) -> Path:
    """Write the model folder.

    Parameters
    ----------
    model : PixelNetwork
        Trained weights.
    config : Config
        Its experiment.
    repository : Path
        Where the folder named after the experiment goes.
    card : str
        Text of the model card.
    golden : (H, W) or (H, W, 3) uint8, optional
        The picture of the self-test; a drawn one in which the network finds something when None.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ExportError
        If ONNX Runtime and PyTorch disagree, or nothing is found in the golden image.
    """
    network = served(model, config.loss.method)
    data = to_onnx(network, multiple=config.model.size_multiple)
    session = open_session(data)
    check_parity(network, session, multiple=config.model.size_multiple)
    recipe = replace(recipe_of(config), network_sha256=hashlib.sha256(data).hexdigest())
    images = [golden] if golden is not None else [s.image for s in golden_scenes(config.data.kind)]
    recipe = replace(recipe, golden=first_golden(Artefact(recipe, session), images))
    return write_folder(repository / config.name, recipe, session, data, card=card)


def write_folder(folder: Path, recipe: Recipe, session: Any, network: bytes, *, card: str) -> Path:
    """Write the files of a model folder.

    Parameters
    ----------
    folder : Path
        Named as the model.
    recipe : Recipe
        With its golden image.
    session : InferenceSession
        ONNX Runtime on the network; says how many maps each output has.
    network : bytes
        The ONNX file.
    card : str
        Text of the model card.
    """
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.onnx").write_bytes(network)
    write_recipe(folder, recipe, session)
    (folder / "MODEL_CARD.md").write_text(card)
    return folder


def write_recipe(folder: Path, recipe: Recipe, session: Any) -> None:
    """Write how a model folder's network is read: its configuration, and the golden image.

    Parameters
    ----------
    folder, recipe, session
        As `write_folder` takes them.

    Raises
    ------
    ExportError
        If the recipe has no golden image.
    """
    golden = recipe.golden
    if golden is None:
        raise ExportError(f"{folder.name}: a model is not served without a golden image")
    channels = {output.name: output.shape[1] for output in session.get_outputs()}
    (folder / "config.pbtxt").write_text(write_config(folder.name, recipe, channels))
    (folder / "golden.png").write_bytes(base64.b64decode(golden.image_png_base64))
    answer = json.dumps({"instances": golden.instances}, indent=1, sort_keys=True)
    (folder / "golden.json").write_text(answer + "\n")


def to_onnx(network: ServedNetwork, *, multiple: int) -> bytes:
    """Trace the network with free batch, height and width; the file that is served."""
    # It misses the operators of torchvision, which nothing here uses, line by line.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    example = torch.randint(0, 256, (2, 2 * multiple, 3 * multiple, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", max=64)
    height, width = torch.export.Dim("rows", max=1024), torch.export.Dim("columns", max=1024)
    with warnings.catch_warnings():
        # The exporter uses what its own library has deprecated.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[signature.IMAGE],
            output_names=list(network.names),
            dynamic_shapes=({0: batch, 1: multiple * height, 2: multiple * width},),
            verbose=False,
        )
    if program is None:
        raise ExportError("the exporter returned nothing")
    buffer = io.BytesIO()
    onnx.save(program.model_proto, buffer)
    return _lean(buffer.getvalue())


def check_parity(network: ServedNetwork, session: Any, *, multiple: int) -> None:
    """Compare ONNX Runtime with PyTorch on several shapes, bright, dark and flat images.

    Raises
    ------
    ExportError
        If an output differs by more than `PARITY`.
    """
    generator = torch.Generator().manual_seed(0)
    for batch, rows, columns in ((1, 1, 1), (2, 2, 3), (1, 4, 2), (MAX_BATCH, 1, 2)):
        shape = (batch, rows * multiple, columns * multiple, 3)
        for low, high in ((0, 256), (5, 25), (128, 129)):
            image = torch.randint(low, high, shape, generator=generator, dtype=torch.uint8)
            _compare(network, session, image)


def _compare(network: ServedNetwork, session: Any, image: Tensor) -> None:
    with torch.inference_mode():
        expected = network(image)
    found = session.run(list(network.names), {signature.IMAGE: image.numpy()})
    for name, wanted, got in zip(network.names, expected, found, strict=True):
        wanted32, got32 = wanted.numpy().astype(np.float32), got.astype(np.float32)
        if wanted32.shape != got32.shape:
            raise ExportError(f"{name}: shape {got32.shape}, PyTorch gives {wanted32.shape}")
        gap = float(np.abs(wanted32 - got32).max()) / max(float(np.abs(wanted32).max()), 1.0)
        if not gap <= PARITY:
            raise ExportError(
                f"{name} at {tuple(image.shape)}: ONNX Runtime differs from PyTorch "
                f"by {gap:.2g} of the largest value, {PARITY:g} is allowed"
            )


def _lean(data: bytes) -> bytes:
    """Store weights in half precision, cast back in the graph, and drop the exporter's notes.

    The weights were rounded before (`training.models.serving`), so nothing is lost; the runtime
    folds the casts when it loads the network. The notes are stack traces: paths of the machine that
    exported.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    _name_slopes(graph)
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        half = numpy_helper.to_array(tensor).astype(np.float16)
        stored = f"{tensor.name}_half"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=onnx.TensorProto.FLOAT))
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, stored))
    nodes = [*casts, *graph.node]
    for noted in (model, graph, *nodes, *graph.input, *graph.output, *graph.initializer):
        del noted.metadata_props[:]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _name_slopes(graph: Any) -> None:
    """Name the slopes of PReLU as the network does; reshaped by the exporter, they lost it."""
    names: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "PRelu":
            notes = {note.key: note.value for note in node.metadata_props}
            scopes = literal_eval(notes["pkg.torch.onnx.name_scopes"])
            # Equal slopes, as those of a fresh network, are stored once.
            node.input[1] = names.setdefault(node.input[1], f"{scopes[-2]}.weight")
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def open_session(data: bytes, *, threads: int = 1) -> Any:
    """Open a network in ONNX Runtime, on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def first_golden(artefact: Artefact, images: Sequence[UInt8]) -> Golden:
    """Return the first of several images in which a network finds something, with what it finds.

    Raises
    ------
    ExportError
        If it finds nothing in any of them.
    """
    for image in images:
        with contextlib.suppress(ExportError):
            return golden_of(artefact, image)
    raise ExportError(
        "nothing is found in the golden image: train the network further, or name an image of your "
        "own in which it finds objects (--golden)"
    )


def golden_of(artefact: Artefact, image: UInt8) -> Golden:
    """Return a small image with what a network finds in it.

    Raises
    ------
    ExportError
        If it finds nothing.
    """
    _, png = cv2.imencode(".png", image if image.ndim == 2 else image[:, :, ::-1])
    found = extract(artefact.predict(image), artefact.recipe, image.shape[:2], ExtractOptions())
    if not found.instances:
        raise ExportError("nothing is found in the golden image")
    return Golden(
        image_png_base64=base64.b64encode(png.tobytes()).decode(),
        instances=[
            {"area": instance.area_px, "segmentation": dict(instance.rle)}
            for instance in found.instances
        ],
    )
