"""Networks that send fewer bytes: the embedding at a stride, in fewer dimensions, or in 8 bits.

The output of an exported network is rewritten; nothing is trained. docs/TRITON.md has the table of
accuracy against bytes against time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from service import signature
from service.arrays import Float32, UInt8
from service.domain import Prediction
from service.postprocess.foreground import foreground_masks
from service.postprocess.quantised import ZERO
from service.recipe import Recipe
from training.deployment.export import (
    Artefact,
    ExportError,
    golden_of,
    open_artefact,
    open_session,
    write_folder,
)

_TOP: Final = 255 - ZERO

_ROOM: Final = 1.5
"""How much further than those of the images vectors may reach before bytes cut them off."""

_WIDE: Final = "embedding_before"
"""Name of the embedding as the network made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an embedding is to be sent.

    Parameters
    ----------
    stride : int
        The mean of each block of so many pixels a side is sent in its place.
    basis : (D, E) float32, optional
        D directions to which the vectors are projected; None keeps all E dimensions.
    scale : tuple of float
        What one step of a byte is, per dimension that is sent; empty: half precision.
    slope : tuple of (float, float)
        What a row and a column of what is sent add to each dimension: bytes hold the rest.
    """

    stride: int = 1
    basis: Float32 | None = None
    scale: tuple[float, ...] = ()
    slope: tuple[tuple[float, float], ...] = ()


def shrink(folder: Path, form: Form, repository: Path, name: str) -> Path:
    """Write a model folder whose network sends its embedding in another form.

    Parameters
    ----------
    folder : Path
        A model folder with half-precision outputs; it stays as it is.
    form : Form
        What is to be sent.
    repository, name : Path, str
        Where the new folder goes.

    Raises
    ------
    ExportError
        If the network sends bytes already, or its golden image cannot be read.
    """
    artefact = open_artefact(folder)
    if artefact.recipe.embedding_scale:
        raise ExportError(f"{folder}: its embedding is in 8 bits already")
    data = rewrite((folder / "1" / "model.onnx").read_bytes(), form)
    recipe = replace(
        artefact.recipe,
        stride=artefact.recipe.stride * form.stride,
        embedding_size=_size_after(form, artefact.recipe),
        position_px=artefact.recipe.position_px if form.basis is None else 0.0,
        embedding_scale=form.scale,
        embedding_slope=form.slope,
        network_sha256=hashlib.sha256(data).hexdigest(),
    )
    session = open_session(data)
    golden = golden_of(Artefact(recipe, session), _golden_image(folder))
    return write_folder(
        repository / name,
        replace(recipe, golden=golden),
        session,
        data,
        card=(folder / "MODEL_CARD.md").read_text(),
    )


def rewrite(network: bytes, form: Form) -> bytes:
    """Return the network with its embedding in another form; its other outputs stay."""
    model = onnx.load_from_string(network)
    graph = model.graph
    [output] = [o for o in graph.output if o.name == signature.EMBEDDING]
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = _WIDE if name == signature.EMBEDDING else name
    nodes, constants = _steps(form)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    channels = output.type.tensor_type.shape.dim[1]
    if form.basis is not None:
        channels.dim_value = len(form.basis)
    if form.scale:
        output.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    if form.stride > 1:
        for axis, letter in ((2, "h"), (3, "w")):
            output.type.tensor_type.shape.dim[axis].dim_param = f"{letter}{form.stride}"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def form_for(
    predictions: Iterable[Prediction],
    recipe: Recipe,
    *,
    stride: int = 1,
    dimensions: int | None = None,
    quantise: bool = False,
) -> Form:
    """Return a form that suits the vectors of some images.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of images like those to come; read only where the form depends on them.
    recipe : Recipe
        Whose foreground counts: what lies in the background is never read.
    stride : int
        Pixels a side that are averaged.
    dimensions : int, optional
        Principal components to keep.
    quantise : bool
        Send bytes, with steps by which no vector is cut off: of what the network adds to the place
        of each pixel, where it does (`Recipe.position_px`).

    Raises
    ------
    ExportError
        If nothing is foreground, or there are not so many dimensions.
    """
    basis = None
    scale: tuple[float, ...] = ()
    slope: tuple[tuple[float, float], ...] = ()
    if dimensions is not None or quantise:
        vectors, places = foreground_vectors(predictions, recipe)
        planes = _slope(recipe)
        if not vectors.size:
            raise ExportError("no foreground in these images: they do not show what vectors are")
        if dimensions is not None:
            if not 1 <= dimensions <= len(vectors):
                raise ExportError(f"{dimensions} dimensions of {len(vectors)} cannot be kept")
            # By growing variance, so the last ones are the ones to keep.
            axes = np.linalg.eigh(np.atleast_2d(np.cov(vectors)))[1]
            basis = np.ascontiguousarray(axes[:, ::-1][:, :dimensions].T, np.float32)
            vectors, planes = basis @ vectors, basis @ planes
        if quantise:
            rest = np.abs(vectors - planes @ places).max(axis=1)
            steps = np.maximum(rest * (_ROOM / _TOP), np.float32(1e-6))
            scale = tuple(float(step) for step in steps)
            if planes.any():
                slope = tuple((float(down), float(across)) for down, across in planes * stride)
    return Form(stride=stride, basis=basis, scale=scale, slope=slope)


def foreground_vectors(
    predictions: Iterable[Prediction], recipe: Recipe
) -> tuple[Float32, Float32]:
    """Return the foreground vectors of some images.

    Returns
    -------
    vectors : (E, P) float32
        As the network sends them.
    places : (2, P) float32
        Row and column of each in the embedding.
    """
    vectors: list[Float32] = [np.empty((recipe.embedding_size, 0), np.float32)]
    places: list[Float32] = [np.empty((2, 0), np.float32)]
    for prediction in predictions:
        logits = prediction.foreground_logits[:, :: recipe.stride, :: recipe.stride]
        mask = np.any(foreground_masks(logits, recipe.foreground_threshold), axis=0)
        vectors.append(prediction.embedding[:, mask].astype(np.float32))
        places.append(np.array(np.nonzero(mask), np.float32))
    return np.concatenate(vectors, axis=1), np.concatenate(places, axis=1)


def _slope(recipe: Recipe) -> Float32:
    """Tell what a row and a column of the embedding add to each dimension, (E, 2)."""
    slope = np.zeros((recipe.embedding_size, 2), np.float32)
    if recipe.position_px > 0.0:
        np.fill_diagonal(slope, recipe.stride / recipe.position_px)
    return slope


def _golden_image(folder: Path) -> UInt8:
    image: Any = cv2.imread(str(folder / "golden.png"), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ExportError(f"{folder / 'golden.png'} is missing or no picture")
    return np.asarray(image, np.uint8)


def _size_after(form: Form, recipe: Recipe) -> int:
    return recipe.embedding_size if form.basis is None else len(form.basis)


@dataclass(slots=True)
class _Chain:
    """Operators that follow each other, from the wide embedding on, and their constants."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    last: str = _WIDE

    def then(self, kind: str, *inputs: npt.NDArray[Any] | str, **attributes: object) -> None:
        """Apply an operator to what was last, and to constants or outputs of before."""
        names = [self.last]
        for value in inputs:
            if isinstance(value, str):
                names.append(value)
                continue
            names.append(f"{signature.EMBEDDING}_constant_{len(self.constants)}")
            self.constants.append(numpy_helper.from_array(value, names[-1]))
        self.last = f"{signature.EMBEDDING}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [self.last], **attributes))

    def less_the_place(self, slope: Sequence[tuple[float, float]]) -> None:
        """Take away what the row and the column of each pixel add."""
        for axis, steps in zip((2, 3), zip(*slope, strict=True), strict=True):
            before = self.last
            self.then("Shape")
            self.then("ConstantOfShape", value=numpy_helper.from_array(np.ones(1, np.float32)))
            self.then("CumSum", np.array(axis, np.int64), exclusive=1)
            self.then("Mul", _per_channel(steps))
            place, self.last = self.last, before
            self.then("Sub", place)


def _steps(form: Form) -> tuple[list[Any], list[Any]]:
    """Return the nodes that lead from the wide embedding to the output, and their constants."""
    chain = _Chain()
    chain.then("Cast", to=onnx.TensorProto.FLOAT)
    if form.stride > 1:
        sides = [form.stride, form.stride]
        chain.then("AveragePool", kernel_shape=sides, strides=sides)
    if form.basis is not None:
        chain.then("Conv", form.basis.astype(np.float32)[:, :, None, None], kernel_shape=[1, 1])
    if form.slope:
        chain.less_the_place(form.slope)
    if form.scale:
        chain.then("Div", _per_channel(form.scale))
        chain.then("Round")
        chain.then("Add", np.array([ZERO], np.float32))
        chain.then("Clip", np.array(0.0, np.float32), np.array(255.0, np.float32))
    chain.then("Cast", to=onnx.TensorProto.UINT8 if form.scale else onnx.TensorProto.FLOAT16)
    chain.nodes[-1].output[0] = signature.EMBEDDING
    return chain.nodes, chain.constants


def _per_channel(values: Sequence[float]) -> Float32:
    return np.array(values, np.float32)[None, :, None, None]
