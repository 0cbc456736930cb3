"""Associative embedding: tags of one instance agree, reference tags of different ones differ.

Newell, Huang, Deng 2017 (arXiv:1611.05424). Axes as in `training.losses.segments`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.config.loss import AssociativeConfig
from training.losses.segments import Segments, by_image, sample, segment


def associative_loss(
    tags: Tensor, labels: Tensor, config: AssociativeConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Compute pull, push and their weighted sum.

    Parameters
    ----------
    tags : (B, D, H, W) float
        Tag maps; D is 1 in the paper.
    labels : (B, H, W) int64
        0 background, positive ids, negative: ignore.
    config : AssociativeConfig
        ``mode`` selects the form: ``reference`` as in the authors' code, ``paper`` as reported for
        the paper, ``pairwise`` over sampled pixels.
    generator : Generator
        Draws the pixels of the pairwise form.

    Returns
    -------
    dict of str to 0-d tensor
        ``pull``, ``push`` (unweighted) and ``total``.

    Notes
    -----
    Averaged over images that contain an instance. The push saturates: equal tags have no gradient,
    so tags must start out different. With one instance the push of ``reference`` is 0.
    """
    segments = segment(tags, labels)
    if config.mode == "pairwise":
        pull, push = _pairwise(segments, config, generator)
    else:
        pull, push = _by_reference(segments, config)
    images = segments.valid.any(1).sum().clamp_min(1)
    terms = {"pull": pull.sum() / images, "push": push.sum() / images}
    attached = 0.0 * tags.sum() if segments.index.numel() == 0 else 0.0
    terms["total"] = config.pull * terms["pull"] + config.push * terms["push"] + attached
    return terms


def _by_reference(segments: Segments, config: AssociativeConfig) -> tuple[Tensor, Tensor]:
    """Give (B,) pull and push of references, the mean tags."""
    references = segments.mean(segments.pixels)  # (B, C, D)
    gap = (segments.pixels - segments.spread(references)).square()
    valid = segments.valid
    count = valid.sum(1).to(gap.dtype)
    between = (references[:, :, None] - references[:, None]).square().sum(3)  # (B, C, C)
    pairs = (valid[:, :, None] & valid[:, None]).to(gap.dtype)
    if config.mode == "paper":
        pull = segments.total(gap.sum(1)).sum(1) / count.clamp_min(1)
        near = torch.exp(-between / (2 * config.sigma**2)) * pairs
        return pull, near.sum((1, 2)) / count.square().clamp_min(1)
    pull = segments.mean(gap.mean(1)).sum(1) / count.clamp_min(1)
    pairs = pairs * (1 - torch.eye(pairs.shape[1], dtype=gap.dtype, device=gap.device))
    near = torch.exp(-between) * pairs
    return pull, 0.5 * near.sum((1, 2)) / pairs.sum((1, 2)).clamp_min(1)


def _pairwise(
    segments: Segments, config: AssociativeConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Give (B,) pull and push of sampled pixels, each divided by its number of pairs."""
    chosen = sample(segments.index, config.samples, generator)
    pull = segments.pixels.new_zeros(len(segments.counts))
    push = torch.zeros_like(pull)
    for image, mine in by_image(segments, chosen):
        pixels, index = segments.pixels[mine], segments.index[mine]
        same = index[:, None] == index[None]
        between = (pixels[:, None] - pixels[None]).square().sum(2)
        near = torch.exp(-between / (2 * config.sigma**2))
        pull[image] = torch.where(same, between, 0).sum() / same.sum()
        push[image] = torch.where(same, 0, near).sum() / (~same).sum().clamp_min(1)
    return pull, push
