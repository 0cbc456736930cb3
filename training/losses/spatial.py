"""Spatial embeddings: pixels point at their instance's centre, within a margin it learns.

Neven et al. 2019 (arXiv:1906.11109), with the medoid as centre on request (EmbedSeg, Lalit et al.
2021). Axes: K instances of one image, N its pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from service.postprocess.spatial import SIGMA_GAIN
from training.config.loss import SpatialConfig


def spatial_loss(
    offsets: Tensor, sigma: Tensor, seediness: Tensor, labels: Tensor, config: SpatialConfig
) -> dict[str, Tensor]:
    """Compute the instance, variance and seed terms and their weighted sum.

    Parameters
    ----------
    offsets : (B, 2, H, W) float
        Down and right, in units of ``config.unit_px``.
    sigma : (B, 1 or 2, H, W) float
        A tenth of the log-bandwidth of squared distances in those units.
    seediness : (B, H, W) float
        Logits of the seed map.
    labels : (B, H, W) int64
        0 background, positive ids, negative: ignore.
    config : SpatialConfig
        Weights, unit, centre.

    Returns
    -------
    dict of str to 0-d tensor
        ``instance``, ``variance``, ``seed`` (unweighted) and ``total``.
    """
    rows = torch.arange(labels.shape[1], device=labels.device, dtype=offsets.dtype)
    columns = torch.arange(labels.shape[2], device=labels.device, dtype=offsets.dtype)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).flatten(1) / config.unit_px
    parts = [
        _one_image(
            offsets[b].flatten(1) + grid, grid, sigma[b].flatten(1), seediness[b].flatten(),
            labels[b].flatten(), config,
        )
        for b in range(labels.shape[0])
    ]  # fmt: skip
    terms = {
        name: torch.stack([part[i] for part in parts]).mean()
        for i, name in enumerate(("instance", "variance", "seed"))
    }
    terms["total"] = (
        config.instance * terms["instance"]
        + config.variance * terms["variance"]
        + config.seed * terms["seed"]
    )
    return terms


def _one_image(
    points: Tensor,
    grid: Tensor,
    sigma: Tensor,
    seediness: Tensor,
    labels: Tensor,
    config: SpatialConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the three terms; without an instance, that of the seeds alone."""
    seed, known = torch.sigmoid(seediness), labels >= 0
    pixels = known.sum().clamp_min(1)
    seed_loss = ((labels == 0).to(seed.dtype) * seed.square()).sum()
    member = _members(labels).to(points.dtype)  # (K, N)
    if len(member) == 0:
        zero = 0.0 * (points.sum() + sigma.sum())
        return zero, zero, seed_loss / pixels
    size = member.sum(1)
    own_sigma = member @ sigma.T / size[:, None]  # (K, 1 or 2)
    spread = (sigma[None] - own_sigma.detach()[:, :, None]).square().mean(1)
    variance = ((member * spread).sum(1) / size).mean()
    phi = _nearness(points, _centres(points, grid, member, size, config), own_sigma)
    instance = lovasz_hinge(2 * phi[:, known] - 1, member[:, known]).mean()
    wanted = (seed[None] - phi.detach()).square()
    seed_loss = seed_loss + config.foreground_weight * (member * wanted).sum()
    return instance, variance, seed_loss / pixels


def _members(labels: Tensor) -> Tensor:
    """Tell which pixels each instance has, (K, N) bool, in ascending order of their ids."""
    counts = torch.bincount(labels.clamp_min(0))
    counts[0] = 0
    return labels[None] == counts.nonzero()


def _nearness(points: Tensor, centres: Tensor, sigma: Tensor) -> Tensor:
    """Give phi (K, N): 1 where a pixel points at a centre, a half at the instance's margin."""
    between = (points[None] - centres[:, :, None]).square()  # (K, 2, N)
    return torch.exp(-(torch.exp(SIGMA_GAIN * sigma)[:, :, None] * between).sum(1))


def _centres(
    points: Tensor, grid: Tensor, member: Tensor, size: Tensor, config: SpatialConfig
) -> Tensor:
    """Give the centre of every instance, (K, 2)."""
    mean = member @ grid.T / size[:, None]
    if config.centre == "embedding":
        return member @ points.T / size[:, None]
    if config.centre == "centroid":
        return mean
    # The pixel of the instance nearest to its centroid: inside even a crescent.
    gap = (grid[None] - mean[:, :, None]).square().sum(1)
    return grid.T[torch.where(member > 0, gap, torch.inf).argmin(1)]


def lovasz_hinge(logits: Tensor, truth: Tensor) -> Tensor:
    """Give the Lovasz hinge of every row: a surrogate of 1 - IoU.

    Parameters
    ----------
    logits : (K, N) float
        Positive inside.
    truth : (K, N) float
        1 inside, 0 outside.

    References
    ----------
    Berman, Triki, Blaschko 2018 (arXiv:1705.08790).
    """
    errors, order = (1 - logits * (2 * truth - 1)).sort(dim=1, descending=True)
    inside = truth.gather(1, order)
    total = inside.sum(1, keepdim=True)
    missed = total - inside.cumsum(1)
    union = total + (1 - inside).cumsum(1)
    jaccard = 1 - missed / union.clamp_min(1)
    steps = torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], dim=1)
    return (errors.clamp_min(0) * steps).sum(1)
