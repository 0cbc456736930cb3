"""The recipe: everything that a model needs beyond its network, as it stands in its configuration.

It travels as JSON in ``parameters.segmentation`` of ``config.pbtxt``, so that whoever can ask the
server for a model's configuration knows how to use it. Nothing about a model is written down twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from service import decoder_settings, signature
from service.domain import Category, Method
from service.errors import ArtefactError
from service.signature import TensorSpec

PARAMETER = "segmentation"
"""Key of the recipe among the parameters of ``config.pbtxt``."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A small image and the answer it must get before the model counts as ready.

    Parameters
    ----------
    image_png_base64 : str
        The picture, as a PNG file.
    instances : list of dict
        ``{"area": int, "segmentation": {"size", "counts"}}`` of every instance, by id.
    """

    image_png_base64: str
    instances: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to feed a network and how to read its output.

    Parameters
    ----------
    method : Method
        Which decoder reads the output.
    embedding_size : int
        E, dimensions of a pixel vector.
    classes : tuple of Category
        C classes, in the order of the foreground maps.
    size_multiple : int
        Height and width of the input must be multiples of this.
    stride : int
        Input pixels per embedding pixel along each axis.
    size_buckets : tuple of int
        Sides that inputs are padded to so that batches can form; empty: any multiple.
    position_px : float
        Pixels per unit of the first two dimensions, where the network adds each pixel's own row and
        column to them; 0: it does not.
    embedding_scale : tuple of float
        Of a network that sends its embedding as bytes: what one step is, per dimension
        (`service.postprocess.quantised`); empty: it sends half precision.
    embedding_slope : tuple of (float, float)
        What a row and a column of the embedding add to each dimension of such bytes; empty:
        nothing.
    clustered : bool
        Whether the server clusters as well, and sends labels in place of embeddings.
    foreground_threshold : float
        Probability above which a pixel is foreground, in (0, 1).
    decoder : mapping of str to float
        Keyword arguments of the method's decoder (`service.postprocess`).
    score_calibration : tuple of float
        What turns scores into probabilities (`service.postprocess.calibration`); empty: nothing.
    min_score : float
        Smallest score of an instance that is shown, unless the caller asks otherwise.
    object_px : float
        Median diameter of the objects that the settings were chosen on, in pixels that the network
        sees; 0: nobody knows.
    network_sha256 : str
        Hex digest of ``model.onnx``.
    golden : Golden, optional
        The self-test; absent only in models made by hand.
    """

    method: Method
    embedding_size: int
    classes: tuple[Category, ...]
    size_multiple: int
    stride: int = 1
    size_buckets: tuple[int, ...] = ()
    position_px: float = 0.0
    embedding_scale: tuple[float, ...] = ()
    embedding_slope: tuple[tuple[float, float], ...] = ()
    clustered: bool = False
    foreground_threshold: float = 0.5
    decoder: Mapping[str, float] = field(default_factory=dict)
    score_calibration: tuple[float, ...] = ()
    min_score: float = 0.0
    object_px: float = 0.0
    network_sha256: str = ""
    golden: Golden | None = None

    def __post_init__(self) -> None:
        """Refuse what no decoder could use.

        Raises
        ------
        ArtefactError
            If a value is out of its range.
        """
        self._check_input_and_classes()
        self._check_reading()

    def _check_input_and_classes(self) -> None:
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ArtefactError(f"recipe: method {self.method!r} is not one of {known}")
        for name in ("embedding_size", "size_multiple", "stride"):
            if getattr(self, name) < 1:
                raise ArtefactError(f"recipe: {name} is {getattr(self, name)}, must be 1 or more")
        if not self.classes:
            raise ArtefactError("recipe: classes is empty, at least one is needed")
        if self.position_px < 0.0:
            raise ArtefactError(f"recipe: position_px is {self.position_px}, must be 0 or more")
        if any(side % self.size_multiple for side in self.size_buckets):
            raise ArtefactError(
                f"recipe: size_buckets {self.size_buckets} "
                f"must be multiples of {self.size_multiple}"
            )

    def _check_reading(self) -> None:
        if not 0.0 < self.foreground_threshold < 1.0:
            raise ArtefactError(
                f"recipe: foreground_threshold is {self.foreground_threshold}, must lie in (0, 1)"
            )
        for fault in decoder_settings.faults(self.method, self.decoder):
            raise ArtefactError(f"recipe: decoder: {fault}")
        if self.embedding_scale and (
            len(self.embedding_scale) != self.embedding_size or min(self.embedding_scale) <= 0.0
        ):
            raise ArtefactError(
                f"recipe: embedding_scale {self.embedding_scale} must be "
                f"{self.embedding_size} positive numbers, or none"
            )
        if self.embedding_slope and (
            len(self.embedding_slope) != len(self.embedding_scale)
            or any(len(pair) != 2 for pair in self.embedding_slope)
        ):
            raise ArtefactError(
                f"recipe: embedding_slope {self.embedding_slope} must be a pair of numbers for "
                "each embedding_scale, or none"
            )
        if len(self.score_calibration) not in (0, 3):
            raise ArtefactError(
                f"recipe: score_calibration {self.score_calibration} must be two slopes and an "
                "offset, or none"
            )
        if not 0.0 <= self.min_score <= 1.0:
            raise ArtefactError(f"recipe: min_score is {self.min_score}, must lie in [0, 1]")
        if self.object_px < 0.0:
            raise ArtefactError(f"recipe: object_px is {self.object_px}, must be 0 or more")

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs."""
        if self.clustered:
            return signature.CLUSTERED
        specs = signature.OUTPUTS[self.method]
        if not self.embedding_scale:
            return specs
        quantised = TensorSpec(signature.EMBEDDING, "UINT8")
        return tuple(quantised if s.name == signature.EMBEDDING else s for s in specs)

    @property
    def channels(self) -> Mapping[str, int]:
        """Maps per image, by output, of those whose number the recipe fixes."""
        return {signature.EMBEDDING: self.embedding_size, signature.FOREGROUND: len(self.classes)}

    def to_json(self) -> str:
        """Write the recipe as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe.

        Parameters
        ----------
        text : str
            JSON object with the fields of this class; an unknown key is an error.

        Raises
        ------
        ArtefactError
            If the text is not JSON, a field is missing or unknown, or a value is out of range.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ArtefactError(f"recipe: not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise ArtefactError("recipe: must be a JSON object")
        unknown = sorted(set(raw) - {f.name for f in fields(cls)})
        if unknown:
            raise ArtefactError(f"recipe: unknown keys {', '.join(unknown)}")
        try:
            raw["classes"] = tuple(Category(**entry) for entry in raw["classes"])
            for name in ("size_buckets", "embedding_scale", "score_calibration"):
                raw[name] = tuple(raw.get(name, ()))
            raw["embedding_slope"] = tuple(map(tuple, raw.get("embedding_slope", ())))
            raw["golden"] = Golden(**raw["golden"]) if raw.get("golden") else None
            return cls(**raw)
        except (KeyError, TypeError) as error:
            raise ArtefactError(f"recipe: {error}") from error
