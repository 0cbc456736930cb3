"""An experiment as frozen dataclasses, read from one TOML file.

Unknown keys are errors, values are checked where they are declared, and the resolved copy is saved
beside every run.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from training.loss_config import ConfigError, LossConfig, require

Coordinates = Literal["none", "linear", "periodic"]
DataKind = Literal["folder", "sticks", "nuclei"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where images come from.

    Parameters
    ----------
    kind : DataKind
        ``folder`` reads files, the others draw their images.
    train, val : str
        Names of the split lists (without ``.txt``) in the data folder.
    labels : tuple of str
        Label folders; the first that holds an image's mask gives it.
    image_size : int
        Side in pixels of the drawn images.
    val_images : int
        How many drawn images validate.
    min_objects, max_objects : int
        Range of the number of objects in a drawn image.
    """

    kind: DataKind = "folder"
    train: str = "train"
    val: str = "val"
    labels: tuple[str, ...] = ("labels",)
    image_size: int = 256
    val_images: int = 32
    min_objects: int = 4
    max_objects: int = 12

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.kind in get_args(DataKind), f"data.kind: {self.kind!r} is not known")
        require(bool(self.labels), "data.labels: at least one folder is needed")
        require(0 <= self.min_objects <= self.max_objects, "data.min_objects: above max_objects")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How training crops are varied. Probabilities are per crop.

    Parameters
    ----------
    crop : int
        Side of the square crops in pixels.
    instance_crop : float
        Probability that a crop is centred near an instance rather than anywhere.
    scale : float
        Crops are magnified by a factor in [1 / scale, scale], log-uniform.
    warp : float
        Probability of a change of scale, free rotation and elastic bending; flips and quarter
        turns, which lose no sharpness, happen always.
    elastic_px : float
        Standard deviation of the elastic bending.
    intensity : float
        Probability of each change of gamma, illumination, blur and noise.
    calm_after : float
        Fraction of the run from which nothing is warped any more: outlines as sharp as those of
        the images to come.
    """

    crop: int = 256
    instance_crop: float = 0.5
    scale: float = 1.4
    warp: float = 0.5
    elastic_px: float = 2.0
    intensity: float = 0.3
    calm_after: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.crop >= 32, f"augment.crop: {self.crop} is below 32")
        require(self.scale >= 1, f"augment.scale: {self.scale} is below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The network.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level; each level halves the resolution.
    stem : int
        Blocks of ``stem x stem`` pixels are folded into channels before the first level.
    embedding_size : int
        E.
    embedding_stride : int
        Pixels per embedding vector along each axis; divides `stem`.
    coordinates : Coordinates
        Position channels given to the network: ``linear`` in [-1, 1] over the image (the paper's),
        ``periodic`` sines of the pixel index, which neither padding nor tiling changes.
    position_px : float
        When above 0, the pixel's own position divided by this is added to the first two embedding
        dimensions (semi-convolutional: the network learns offsets, and far-apart objects differ
        by construction).
    """

    widths: tuple[int, ...] = (32, 48, 64, 96, 128)
    stem: int = 2
    embedding_size: int = 8
    embedding_stride: int = 1
    coordinates: Coordinates = "linear"
    position_px: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        require(len(self.widths) >= 2, "model.widths: at least two levels are needed")
        require(self.stem >= 1, "model.stem: must be 1 or more")
        require(
            self.embedding_stride >= 1 and self.stem % self.embedding_stride == 0,
            f"model.embedding_stride: {self.embedding_stride} does not divide stem {self.stem}",
        )
        require(
            self.coordinates in get_args(Coordinates),
            f"model.coordinates: {self.coordinates!r} is not known",
        )
        require(self.embedding_size >= 1, "model.embedding_size: must be 1 or more")
        require(
            self.position_px == 0 or self.embedding_size >= 2,
            "model.position_px: needs an embedding of two dimensions or more",
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of an input must be multiples of this."""
        return int(self.stem * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """How it is minimised.

    Parameters
    ----------
    batch : int
        Crops per step.
    learning_rate, weight_decay : float
        Of AdamW.
    warmup_steps : int
        Steps of linear rise of the learning rate.
    steps : int
        Length of the run; the learning rate falls as a cosine over it.
    max_minutes : float
        When above 0, the run also ends after this time, and the cosine follows the clock where
        that is further on. Runs bounded by steps alone repeat exactly.
    clip : float
        Largest norm of the gradient.
    ema : float
        Decay of the running average of the weights, which is what is evaluated and exported.
    bfloat16 : bool
        Compute the network in bfloat16 (losses stay float32).
    validate_every_s, validate_every_steps : float, int
        Whichever of the two is above 0 and has passed.
    save_every_s : float
        Time between snapshots to resume from.
    accumulate : int
        Batches whose gradients are added up to one step.
    patience : int
        When above 0, stop after so many validations without a better result.
    """

    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 100
    steps: int = 20_000
    max_minutes: float = 0.0
    clip: float = 5.0
    ema: float = 0.998
    bfloat16: bool = False
    validate_every_s: float = 300.0
    validate_every_steps: int = 0
    save_every_s: float = 120.0
    accumulate: int = 1
    patience: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        require(self.batch >= 1, "optim.batch: must be 1 or more")
        require(self.steps >= 1, "optim.steps: must be 1 or more")
        require(0 <= self.ema < 1, "optim.ema: must lie in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeConfig:
    """How outputs are read, in evaluation and in the exported recipe.

    Parameters
    ----------
    foreground_threshold : float
        Probability above which a pixel is foreground.
    settings : mapping of str to float
        Keyword arguments of the method's decoder.
    """

    foreground_threshold: float = 0.5
    settings: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ranges."""
        require(
            0 < self.foreground_threshold < 1, "decode.foreground_threshold: must lie in (0, 1)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One experiment.

    Parameters
    ----------
    name : str
        Name of the run, and of the exported model.
    category : str
        What one object is called.
    seed : int
        Seed of everything random.
    start : str
        Model folder whose weights training begins with (`training.warm_start`); empty: anew.
    """

    name: str
    category: str = "object"
    seed: int = 0
    start: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    def __post_init__(self) -> None:
        """Check what spans several tables."""
        if self.loss.method == "spatial":
            require(
                self.model.embedding_size == 2 and self.model.position_px == 0,
                "model.embedding_size: spatial needs 2, its offsets, and position_px 0",
            )

    def to_dict(self) -> dict[str, Any]:
        """Give the configuration as plain values, for JSON."""
        return dataclasses.asdict(self)


def from_dict(raw: Mapping[str, Any]) -> Config:
    """Build a configuration from plain values.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or a value does not fit.
    """
    built = _build(Config, raw, "")
    assert isinstance(built, Config)  # noqa: S101 - narrows the type
    return built


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply ``key.path=value`` overrides.

    Parameters
    ----------
    path : Path
        The file.
    overrides : sequence of str
        Values are read as TOML, or as text where that fails.
    """
    raw = tomllib.loads(path.read_text())
    for item in overrides:
        key, separator, text = item.partition("=")
        require(bool(separator), f"override {item!r}: must read key=value")
        *parents, last = key.strip().split(".")
        node = raw
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = _literal(text.strip())
    return from_dict(raw)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(kind: type[Any], raw: Mapping[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    require(not unknown, f"unknown key {path}{unknown[0] if unknown else ''}")
    values = {name: _convert(hints[name], value, f"{path}{name}") for name, value in raw.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{path or 'config'}: {error}") from error


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        require(isinstance(value, Mapping), f"{path}: must be a table")
        return _build(typing.cast(type[Any], hint), value, f"{path}.")
    origin = typing.get_origin(hint)
    if origin is tuple:
        require(isinstance(value, (list, tuple)), f"{path}: must be a list")
        return tuple(_convert(get_args(hint)[0], item, path) for item in value)
    if origin is None and isinstance(hint, type):
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
        require(fits, f"{path}: {value!r} is not of type {hint.__name__}")
    return value
