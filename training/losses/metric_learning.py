"""Deep metric learning: pairs of sampled pixels, and seeds that say which of them grow well.

Fathi et al. 2017 (arXiv:1703.10277). Axes: S sampled pixels, T thresholds, others as in
`training.losses.segments`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from service.postprocess.metric_learning import TAUS, radius2_of
from training.config.loss import MetricLearningConfig
from training.losses.segments import Segments, by_image, sample, segment

_DISTANCES = 2**21
"""Distances that are held at a time while masks are grown."""

_NEAREST = 1e-6
"""Squared distances are not taken to be smaller: the logarithm of no distance is infinite."""


def metric_learning_loss(
    embedding: Tensor,
    seediness: Tensor,
    labels: Tensor,
    config: MetricLearningConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Compute the pair loss, the seed loss and their weighted sum.

    Parameters
    ----------
    embedding : (B, D, H, W) float
        Pixel vectors.
    seediness : (B, T, H, W) float
        Logits of being a good seed, one map per threshold of `TAUS`.
    labels : (B, H, W) int64
        0 background, positive ids, negative: ignore.
    config : MetricLearningConfig
        Samples per instance and weights.
    generator : Generator
        Draws the pixels.

    Returns
    -------
    dict of str to 0-d tensor
        ``pairs``, ``seeds`` (unweighted) and ``total``.

    Notes
    -----
    The paper divides by the number of samples and also makes the weights sum to 1; only the latter
    is kept, so that the value does not depend on how many are drawn. The seed weight is constant
    here, at the paper's final value, where the paper raises it gradually.
    """
    segments = segment(embedding, labels)
    if segments.index.numel() == 0:
        zero = 0.0 * (embedding.sum() + seediness.sum())
        return {"pairs": zero, "seeds": zero, "total": zero}
    chosen = sample(segments.index, config.samples, generator)
    pairs = _pair_loss(segments, chosen, config)
    seeds = _seed_loss(segments, chosen, embedding, seediness)
    return {"pairs": pairs, "seeds": seeds, "total": pairs + config.seed_weight * seeds}


def _pair_loss(segments: Segments, chosen: Tensor, config: MetricLearningConfig) -> Tensor:
    """Give the mean over images of what the pairs of their pixels cost."""
    parts = [
        _pairs(segments.pixels[mine], segments.index[mine], config)
        for _, mine in by_image(segments, chosen)
    ]
    return torch.stack(parts).mean()


def _pairs(pixels: Tensor, index: Tensor, config: MetricLearningConfig) -> Tensor:
    between = (pixels[:, None] - pixels[None]).square().sum(2).clamp_min(_NEAREST)
    alike = math.log(2) - functional.softplus(between)
    unlike = torch.log1p(-torch.exp(-between)) - torch.log1p(torch.exp(-between))
    weight = torch.ones_like(between)
    if config.weights == "balanced":
        drawn = torch.bincount(index)[index].to(between.dtype)
        weight = weight / (drawn[:, None] * drawn[None])
    if not config.diagonal:
        weight = weight.fill_diagonal_(0)
    same = index[:, None] == index[None]
    # An image with a single sampled pixel has no pair; it must not divide by zero.
    return (weight * torch.where(same, -alike, -unlike)).sum() / weight.sum().clamp_min(1e-12)


def _seed_loss(segments: Segments, chosen: Tensor, embedding: Tensor, seediness: Tensor) -> Tensor:
    logits = seediness.permute(0, 2, 3, 1).reshape(-1, seediness.shape[1])
    with torch.no_grad():
        target = _grows_well(segments, chosen, embedding)
    return functional.binary_cross_entropy_with_logits(
        logits[segments.flat[chosen]], target.to(logits.dtype)
    )


def _grows_well(segments: Segments, chosen: Tensor, embedding: Tensor) -> Tensor:
    """Tell for every sampled pixel and threshold whether its mask meets its instance, (S, T).

    The mask of a pixel holds the pixels of its image that are similar enough; it meets the
    instance when their intersection over union is above one half. Ignored pixels and background
    count as mask when they are similar: a good seed does not grow into them.
    """
    radii, order = embedding.new_tensor([radius2_of(tau) for tau in TAUS]).sort()
    per_image = embedding[0, 0].numel()
    flat = embedding.permute(0, 2, 3, 1).reshape(-1, per_image, embedding.shape[1])
    owner = torch.full(flat.shape[:2], -1, device=flat.device)
    owner.view(-1)[segments.flat] = segments.index
    images = torch.div(segments.flat[chosen], per_image, rounding_mode="floor")
    meets = torch.empty((len(chosen), len(radii)), dtype=torch.bool, device=flat.device)
    for image in range(len(flat)):
        mine = torch.nonzero(images == image)[:, 0]
        # In chunks: the distances of all samples to all pixels would not fit into memory.
        for part in torch.split(mine, max(1, _DISTANCES // per_image)):
            index = segments.index[chosen[part]]
            between = torch.cdist(segments.pixels[chosen[part]], flat[image]).square()
            others, shared = _within(between, owner[image] == index[:, None], radii)
            sizes = segments.counts.flatten()[index]
            # The union is the instance, and of the mask what is not of the instance.
            meets[part] = shared > 0.5 * (sizes[:, None] + others)
    return meets[:, order.argsort()]


def _within(between: Tensor, own: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """Count the pixels that each sample's masks hold, (S, T) each: of others, and of its instance.

    Parameters
    ----------
    between : (S, N) float
        Squared distances of samples and pixels.
    own : (S, N) bool
        Whether the pixel is of the sample's instance.
    radii : (T,) float
        Squared, ascending.
    """
    # Counted once by the first radius that holds it, then summed up over the radii.
    last = len(radii)
    row = torch.arange(len(between), device=between.device)[:, None]
    kind = torch.bucketize(between, radii) + (2 * row + own) * (last + 1)
    counts = torch.bincount(kind.flatten(), minlength=2 * len(between) * (last + 1))
    others, shared = counts.view(-1, 2, last + 1).cumsum(2)[..., :last].unbind(1)
    return others, shared
