"""Settings of the losses, as frozen dataclasses; defaults are those of the papers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from service.domain import Method
from training.config.checks import require


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminativeConfig:
    """Settings of the discriminative loss; defaults are the paper's (arXiv:1708.02551).

    Parameters
    ----------
    delta_var, delta_dist : float
        Margins; the push hinge is on ``2 * delta_dist``.
    alpha, beta, gamma : float
        Weights of variance, distance and regularisation.
    norm : int
        1 or 2.
    variance_reduction : str
        ``instance``: mean of per-instance means; ``pixel``: mean over all pixels.
    instance_reduction : str
        ``mean`` or ``sum`` over instances, of the variance term.
    background : str
        ``ignore``, or ``cluster``: background pixels form one more instance.
    push_radius_px : float
        When above 0, only instances whose boxes come closer than this repel each other.
    """

    delta_var: float = 0.5
    delta_dist: float = 1.5
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 0.001
    norm: int = 2
    variance_reduction: Literal["instance", "pixel"] = "instance"
    instance_reduction: Literal["mean", "sum"] = "mean"
    background: Literal["ignore", "cluster"] = "ignore"
    push_radius_px: float = 0.0

    def __post_init__(self) -> None:
        """Refuse margins under which clusters could not be told apart."""
        require(self.delta_dist > self.delta_var, "discriminative.delta_dist: not above delta_var")
        require(self.norm in (1, 2), f"discriminative.norm: {self.norm} is not 1 or 2")
        for name, known in (
            ("variance_reduction", ("instance", "pixel")),
            ("instance_reduction", ("mean", "sum")),
            ("background", ("ignore", "cluster")),
        ):
            value = getattr(self, name)
            require(value in known, f"discriminative.{name}: {value!r} is not one of {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociativeConfig:
    """Settings of the associative embedding loss (arXiv:1611.05424).

    Parameters
    ----------
    mode : str
        ``reference`` (the authors' code), ``paper``, or ``pairwise`` over sampled pixels.
    pull, push : float
        Weights; the authors use 1e-3 for both beside a detection loss of 1.
    sigma : float
        Width of the push of ``paper`` and ``pairwise``.
    samples : int
        Pixels per instance of ``pairwise``.
    """

    mode: Literal["reference", "paper", "pairwise"] = "reference"
    pull: float = 1.0
    push: float = 1.0
    sigma: float = 1.0
    samples: int = 16

    def __post_init__(self) -> None:
        """Check the mode."""
        known = ("reference", "paper", "pairwise")
        require(self.mode in known, f"associative.mode: {self.mode!r} is not one of {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLearningConfig:
    """Settings of the deep metric learning loss (arXiv:1703.10277).

    Parameters
    ----------
    samples : int
        Pixels drawn from every instance.
    weights : str
        ``balanced``: pairs weigh inversely to the sizes of their instances; ``uniform``.
    diagonal : bool
        Count each pixel's pair with itself.
    seed_weight : float
        Weight of the seed loss.
    """

    samples: int = 16
    weights: Literal["balanced", "uniform"] = "balanced"
    diagonal: bool = False
    seed_weight: float = 0.2

    def __post_init__(self) -> None:
        """Check the weighting."""
        known = ("balanced", "uniform")
        require(
            self.weights in known,
            f"metric_learning.weights: {self.weights!r} is not one of {known}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentConfig:
    """Settings of the recurrent pixel embedding loss (arXiv:1712.08273).

    Parameters
    ----------
    alpha : float
        Calibrated similarity below which pixels of different instances are left alone; 0.5 lets
        twice as many groups as dimensions fit.
    negative : float
        Weight of pairs of different instances.
    penalty : str
        ``linear`` as in the equation, ``quadratic`` as the authors' backward pass has it.
    steps : int
        Steps of mean shift, each with its own loss.
    kappa : float
        Concentration of the mean shift.
    samples : int
        Pixels drawn from every image.
    background : str
        ``cluster``: background is one more group, as in the authors' code; or ``ignore``.
    """

    alpha: float = 0.5
    negative: float = 1.0
    penalty: Literal["linear", "quadratic"] = "linear"
    steps: int = 1
    kappa: float = 100.0
    samples: int = 1000
    background: Literal["ignore", "cluster"] = "cluster"

    def __post_init__(self) -> None:
        """Check the choices."""
        require(self.penalty in ("linear", "quadratic"), f"recurrent.penalty: {self.penalty!r}")
        require(
            self.background in ("ignore", "cluster"), f"recurrent.background: {self.background!r}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialConfig:
    """Settings of the spatial embedding loss (arXiv:1906.11109).

    Parameters
    ----------
    instance, variance, seed : float
        Weights of the terms.
    foreground_weight : float
        Weight of instance pixels within the seed term.
    unit_px : float
        Pixels in one unit of offset; the network's offsets reach one unit at most.
    centre : str
        ``centroid``, ``medoid`` (EmbedSeg) or ``embedding`` (mean of where the pixels point).
    """

    instance: float = 1.0
    variance: float = 10.0
    seed: float = 1.0
    foreground_weight: float = 10.0
    unit_px: float = 64.0
    centre: Literal["centroid", "medoid", "embedding"] = "centroid"

    def __post_init__(self) -> None:
        """Check the choices."""
        known = ("centroid", "medoid", "embedding")
        require(self.centre in known, f"spatial.centre: {self.centre!r} is not one of {known}")
        require(self.unit_px > 0, "spatial.unit_px: must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForegroundConfig:
    """Settings of the foreground loss.

    Parameters
    ----------
    bce, dice : float
        Weights of cross-entropy and Dice loss.
    touching_weight : float
        Extra weight of pixels that lie within 2 px of two instances.
    edge_weight : float
        Extra weight of pixels within 1 px of an outline: thin errors there decide the
        overlap at strict thresholds.
    """

    bce: float = 1.0
    dice: float = 1.0
    touching_weight: float = 2.0
    edge_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What is minimised: the method's loss and the foreground loss.

    Parameters
    ----------
    method : Method
        Which embedding loss.
    embedding, foreground : float
        Weights of the two parts.
    """

    method: Method = "discriminative"
    embedding: float = 1.0
    foreground: float = 1.0
    discriminative: DiscriminativeConfig = field(default_factory=DiscriminativeConfig)
    associative: AssociativeConfig = field(default_factory=AssociativeConfig)
    metric_learning: MetricLearningConfig = field(default_factory=MetricLearningConfig)
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)
    spatial: SpatialConfig = field(default_factory=SpatialConfig)
    mask: ForegroundConfig = field(default_factory=ForegroundConfig)

    def __post_init__(self) -> None:
        """Check the method."""
        require(self.method in get_args(Method), f"loss.method: {self.method!r} is not known")
