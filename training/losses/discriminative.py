"""The discriminative loss: pull pixels to their instance's mean, push means apart.

Equations 1 to 4 of arXiv:1708.02551. Axes as in `training.losses.segments`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.config.loss import DiscriminativeConfig
from training.losses.pull import pull
from training.losses.segments import Segments, segment


def discriminative_loss(
    embedding: Tensor, labels: Tensor, config: DiscriminativeConfig
) -> dict[str, Tensor]:
    """Compute the three terms and their weighted sum.

    Parameters
    ----------
    embedding : (B, D, H, W) float
        Pixel vectors.
    labels : (B, H, W) int64
        0 background, positive ids, negative: ignore.
    config : DiscriminativeConfig
        Margins, weights and the deviations found in other implementations.

    Returns
    -------
    dict of str to 0-d tensor
        ``variance``, ``distance``, ``regularisation`` (unweighted) and ``total``.

    Notes
    -----
    Each term is averaged over the images that contain an instance, so that empty images do not
    dilute it. A batch without any gives zeros that are still attached to the graph. Gradients
    flow through the means. Time O(P D + B C^2 D), extra memory O(P D + B C^2).
    """
    if config.background == "cluster":
        labels = torch.where(labels >= 0, labels + 1, labels)
    segments = segment(embedding, labels)
    means, totals = _pull(segments, config)
    terms = {
        "variance": _variance(segments, totals, config),
        "distance": _distance(segments, means, labels, config),
        "regularisation": _regularisation(segments, means, config),
    }
    # Zero of the right graph: a batch without instances must not break backward().
    attached = 0.0 * embedding.sum() if segments.index.numel() == 0 else 0.0
    terms["total"] = (
        config.alpha * terms["variance"]
        + config.beta * terms["distance"]
        + config.gamma * terms["regularisation"]
        + attached
    )
    return terms


def _pull(segments: Segments, config: DiscriminativeConfig) -> tuple[Tensor, Tensor]:
    """Give the means (B, C, D), and the sums (B, C) of the squared hinged distances to them."""
    counts = segments.counts
    means, totals = pull(
        segments.pixels, segments.index, counts.flatten(),
        margin=config.delta_var, norm=config.norm,
    )  # fmt: skip
    return means.view(*counts.shape, -1), totals.view(counts.shape)


def _variance(segments: Segments, totals: Tensor, config: DiscriminativeConfig) -> Tensor:
    instances = segments.valid.sum(1).to(totals.dtype)  # (B,)
    if config.variance_reduction == "pixel":
        per_image = totals.sum(1) / segments.counts.sum(1).clamp_min(1)
    else:
        per_image = (totals / segments.counts.clamp_min(1)).sum(1) / instances.clamp_min(1)
    if config.instance_reduction == "sum":
        per_image = per_image * instances
    return _over_images(per_image, segments)


def _distance(
    segments: Segments, means: Tensor, labels: Tensor, config: DiscriminativeConfig
) -> Tensor:
    pairs = segments.valid[:, :, None] & segments.valid[:, None, :]
    # The diagonal is left out by index: distinct instances with equal means must still repel.
    pairs = pairs & ~torch.eye(means.shape[1], dtype=torch.bool, device=means.device)
    if config.push_radius_px > 0:
        pairs = pairs & _close(segments, labels, config.push_radius_px)
    batch, first, second = pairs.nonzero(as_tuple=True)
    gap = torch.linalg.vector_norm(
        means[batch, first] - means[batch, second], ord=config.norm, dim=1
    )
    hinged = (2 * config.delta_dist - gap).clamp_min(0).square()
    summed = means.new_zeros(means.shape[0]).index_add(0, batch, hinged)
    return _over_images(summed / pairs.sum((1, 2)).clamp_min(1), segments)


def _regularisation(segments: Segments, means: Tensor, config: DiscriminativeConfig) -> Tensor:
    length = torch.linalg.vector_norm(means, ord=config.norm, dim=2)  # 0 where not valid
    instances = segments.valid.sum(1).clamp_min(1)
    return _over_images(length.sum(1) / instances, segments)


def _over_images(per_image: Tensor, segments: Segments) -> Tensor:
    return per_image.sum() / segments.valid.any(1).sum().clamp_min(1)


def _close(segments: Segments, labels: Tensor, radius_px: float) -> Tensor:
    """Tell which instances' bounding boxes are less than `radius_px` apart, as (B, C, C)."""
    width = labels.shape[2]
    within = segments.flat % (labels.shape[1] * width)
    batch, most = segments.counts.shape
    apart = torch.zeros((batch, most, most), dtype=torch.bool, device=labels.device)
    for axis in (torch.div(within, width, rounding_mode="floor"), within % width):
        low, high = (
            axis.new_zeros(batch * most)
            .scatter_reduce(0, segments.index, axis, reduce=how, include_self=False)
            .view(batch, most)
            for how in ("amin", "amax")
        )
        gap = torch.maximum(low[:, :, None] - high[:, None, :], low[:, None, :] - high[:, :, None])
        apart |= gap >= radius_px
    return ~apart
