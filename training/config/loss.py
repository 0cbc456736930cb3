"""Settings of the losses, as frozen dataclasses; defaults are those of the papers."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from service.domain import Method
from training.config.checks import STRICT, Count, NotNegative, Positive, Whole, require


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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

    delta_var: NotNegative = 0.5
    delta_dist: NotNegative = 1.5
    alpha: NotNegative = 1.0
    beta: NotNegative = 1.0
    gamma: NotNegative = 0.001
    norm: Literal[1, 2] = 2
    variance_reduction: Literal["instance", "pixel"] = "instance"
    instance_reduction: Literal["mean", "sum"] = "mean"
    background: Literal["ignore", "cluster"] = "ignore"
    push_radius_px: NotNegative = 0.0

    def __post_init__(self) -> None:
        """Refuse margins under which clusters could not be told apart."""
        require(
            self.delta_dist > self.delta_var,
            "loss.discriminative.delta_dist: must be above delta_var",
        )


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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
    pull: NotNegative = 1.0
    push: NotNegative = 1.0
    sigma: Positive = 1.0
    samples: Count = 16


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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

    samples: Count = 16
    weights: Literal["balanced", "uniform"] = "balanced"
    diagonal: bool = False
    seed_weight: NotNegative = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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

    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.5
    negative: NotNegative = 1.0
    penalty: Literal["linear", "quadratic"] = "linear"
    steps: Whole = 1
    kappa: Positive = 100.0
    samples: Count = 1000
    background: Literal["ignore", "cluster"] = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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

    instance: NotNegative = 1.0
    variance: NotNegative = 10.0
    seed: NotNegative = 1.0
    foreground_weight: NotNegative = 10.0
    unit_px: Positive = 64.0
    centre: Literal["centroid", "medoid", "embedding"] = "centroid"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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

    bce: NotNegative = 1.0
    dice: NotNegative = 1.0
    touching_weight: NotNegative = 2.0
    edge_weight: NotNegative = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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
    embedding: NotNegative = 1.0
    foreground: NotNegative = 1.0
    discriminative: DiscriminativeConfig = field(default_factory=DiscriminativeConfig)
    associative: AssociativeConfig = field(default_factory=AssociativeConfig)
    metric_learning: MetricLearningConfig = field(default_factory=MetricLearningConfig)
    recurrent: RecurrentConfig = field(default_factory=RecurrentConfig)
    spatial: SpatialConfig = field(default_factory=SpatialConfig)
    mask: ForegroundConfig = field(default_factory=ForegroundConfig)
