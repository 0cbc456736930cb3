"""One experiment: every table of settings, and what spans several of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from service.decoder_settings import faults
from training.config.checks import STRICT, ConfigError, Share, Whole, require
from training.config.data import AugmentConfig, DataConfig
from training.config.loss import LossConfig
from training.config.model import ModelConfig
from training.config.optim import OptimConfig


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DecodeConfig:
    """How outputs are read, in evaluation and in the exported recipe.

    Parameters
    ----------
    foreground_threshold : float
        Probability above which a pixel is foreground.
    settings : mapping of str to float
        Keyword arguments of the method's decoder.
    score_calibration : tuple of float
        What turns scores into probabilities (`service.postprocess.calibration`); `tune` fits it.
    min_score : float
        Smallest score of an instance that is shown; `tune` finds it.
    object_px : float
        Median diameter of the objects, in pixels; 0: not known. `tune` measures it.
    """

    foreground_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    settings: Mapping[str, float] = field(default_factory=dict)
    score_calibration: tuple[float, ...] = ()
    min_score: Share = 0.0
    object_px: Annotated[float, Field(ge=0)] = 0.0

    def __post_init__(self) -> None:
        """Check what no type says."""
        require(
            not self.score_calibration or len(self.score_calibration) == 3,
            "decode.score_calibration: must be two slopes and an offset, or nothing",
        )


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Config:
    """One experiment.

    Parameters
    ----------
    name : str
        Name of the run, and of the exported model: letters, digits, ``.``, ``_`` and ``-``.
    category : str
        What one object is called, where all are of one class (`DataConfig.classes` is empty).
    seed : int
        Seed of everything random.
    start : str
        Model folder whose weights training begins with (`training.loop.warm_start`), or file of a
        ResNet's weights for the encoder of ``fpn`` (`training.loop.encoder_weights`); empty: anew.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
    category: Annotated[str, Field(min_length=1)] = "object"
    seed: Whole = 0
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
        multiple = self.model.size_multiple
        for name, side in (("crop", self.augment.crop), ("crop_width", self.augment.width)):
            require(
                side % multiple == 0,
                f"augment.{name}: must be a multiple of {multiple}, to which the network halves "
                f"its maps, not {side}",
            )
        for fault in faults(self.loss.method, self.decode.settings):
            raise ConfigError(f"decode.settings: {fault}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the foreground maps."""
        return self.data.classes or (self.category,)

    def to_dict(self) -> dict[str, Any]:
        """Give the configuration as plain values, for JSON."""
        return dataclasses.asdict(self)
