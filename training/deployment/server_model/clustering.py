"""The gateway's clustering in PyTorch, for a server that is far away: labels are fewer bytes.

The same steps as `service.postprocess.clustering`: leaders on a lattice of pixels, mean shift,
nearest centre, and a second look for what the lattice has missed. Sums run in another order, so a
pixel as near to one centre as to another may differ.

Axes: N batch, C classes, E embedding, H W image, P pixels, S samples, K centres or instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import isqrt, log
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from service.arrays import Float32
from training.deployment.server_model.joining import Limits, join

# As in the gateway, which says why (`service.postprocess`); a test compares them.
ROUNDS: Final = 10
REACH: Final = 1.5
LOOSE: Final = 0.01
APART: Final = 0.75
OUTWEIGHS: Final = 16
FEW: Final = 64
NEVER_SURE: Final = 1e-6
MOST_CENTRES: Final = 4096
"""More than this is what an untrained network gives, and nobody waits for."""

_CHUNK: Final = 16_384
_ZERO_BYTE: Final = 128


def instances(
    embedding: Tensor,
    foreground: Tensor,
    recipe: Mapping[str, Any],
    sizes: Sequence[tuple[int, int]] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the instances of a batch.

    Parameters
    ----------
    embedding : (N, E, h, w) float16, float32 or uint8
        As the network sends it.
    foreground : (N, C, H, W) float16 or float32
        Logits per class.
    recipe : mapping
        As it stands in the model's configuration.
    sizes : sequence of (int, int)
        Height and width of each image without its padding; empty: none is padded.

    Returns
    -------
    labels : (N, H, W) uint16
        0 background and padding, else 1..K of the image.
    scores : (N, K) float32
        Of every instance; 0 beyond the last of an image.
    classes : (N, K) uint8
        Index of its class.
    """
    vectors = _dequantised(embedding, recipe["embedding_scale"], recipe["embedding_slope"])
    whole = (foreground.shape[2], foreground.shape[3])
    images = zip(vectors, foreground, sizes or [whole] * len(vectors), strict=True)
    found = [_one(v, logits.float(), size, recipe) for v, logits, size in images]
    shape = (len(found), max(scores.numel() for _, scores, _ in found))
    all_scores = foreground.new_zeros(shape, dtype=torch.float32)
    all_classes = foreground.new_zeros(shape, dtype=torch.uint8)
    # PyTorch has uint16 for little more than holding it; int16 has the same bits.
    all_labels = foreground.new_zeros((len(found), *whole), dtype=torch.int16)
    for i, (labels, scores, classes) in enumerate(found):
        all_labels[i, : labels.shape[0], : labels.shape[1]] = labels
        all_scores[i, : scores.numel()] = scores
        all_classes[i, : classes.numel()] = classes
    return all_labels.view(torch.uint16), all_scores, all_classes


def cluster(  # noqa: PLR0913 - the settings of a recipe
    embedding: Tensor,
    foreground: Tensor,
    *,
    bandwidth: float = 1.5,
    min_pixels: float = 1,
    join_below: float = 0.0,
    join_rim: float = 0.0,
    join_size: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Group the foreground pixels of one class.

    Parameters
    ----------
    embedding : (E, H, W) float32
        Pixel vectors.
    foreground : (H, W) bool
        Pixels to group; those whose vector is not finite count as background.
    bandwidth : float
        Radius of the flat mean-shift kernel.
    min_pixels : float
        Smallest instance to keep.
    join_below, join_rim, join_size : float
        Which clusters are one (`joining.Limits`); 0 for `join_below` joins none.

    Returns
    -------
    labels : (H, W) int64
        0 background, else 1..K.
    confidence : (K,) float32
        Mean of ``exp(-(d / bandwidth)^2)`` over each instance.
    """
    radius2 = bandwidth**2
    mask = foreground & embedding.isfinite().all(dim=0)
    labels = torch.zeros(mask.shape, dtype=torch.int64, device=mask.device)
    vectors = embedding[:, mask].T.contiguous()
    centres, reach2 = _centres(embedding, mask, radius2)
    owners, d2 = _nearest(vectors, centres)
    strays = d2 >= reach2
    if bool(strays.any()):
        centres = torch.cat((centres, _missed(embedding, mask, strays, radius2, min_pixels)))
        owners, d2 = _nearest(vectors, centres)
        strays = d2 >= reach2
    if join_below > 0.0:
        limits = Limits(join_below, join_rim, join_size)
        labels[mask] = torch.where(strays, 0, owners + 1)
        owners = join(embedding, labels, centres, limits, max(int(min_pixels), 1))[owners]
    keep = torch.bincount(owners[~strays], minlength=len(centres)) >= max(min_pixels, 1)
    if bool(strays.any()) or not bool(keep.all()):
        loose = strays | ~torch.cat((keep, keep.new_zeros(1)))[owners]
        nearest, d2[loose] = _nearest(vectors[loose], centres[keep])
        names = torch.cat((keep.nonzero()[:, 0], owners.new_tensor([-1])))
        within = d2[loose] < reach2
        owners[loose] = names[torch.where(within, nearest, len(names) - 1)]
    areas = torch.bincount(owners[owners >= 0], minlength=len(centres))
    kept = areas >= max(min_pixels, 1)
    names = torch.cumsum(kept, 0) * kept
    taken = owners >= 0
    numbers = torch.zeros_like(owners)
    numbers[taken] = names[owners[taken]]
    labels[mask] = numbers
    return labels, _mean(torch.exp(-d2 / radius2), numbers, int(kept.sum()))


def _one(
    vectors: Tensor, logits: Tensor, size: tuple[int, int], recipe: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return labels, scores and classes of one image; padding is cut off first.

    As in the gateway: it would weigh in on centres, on what is joined by size, and on scores.
    """
    stride, threshold = recipe["stride"], recipe["foreground_threshold"]
    if stride > 1:
        vectors = vectors.repeat_interleave(stride, 1).repeat_interleave(stride, 2)
    height, width = size
    vectors, logits = vectors[:, :height, :width], logits[:, :height, :width]
    above = logits > log(threshold / (1.0 - threshold))
    best = logits.nan_to_num(nan=-torch.inf).argmax(dim=0)
    labels = torch.zeros(logits.shape[1:], dtype=torch.int64, device=logits.device)
    scores, classes = [logits.new_zeros(0)], [logits.new_zeros(0, dtype=torch.uint8)]
    count = 0
    for c in range(len(logits)):
        own, confidence = cluster(vectors, above[c] & (best == c), **recipe["decoder"])
        inside = own > 0
        overlap = _expected_iou(own, logits[c].sigmoid().nan_to_num(0.0), confidence.numel())
        labels[inside] = own[inside] + count
        scores.append(_calibrated(confidence, overlap, recipe["score_calibration"]))
        classes.append(torch.full_like(confidence, c, dtype=torch.uint8))
        count += confidence.numel()
    return labels, torch.cat(scores), torch.cat(classes)


def _expected_iou(labels: Tensor, probability: Tensor, count: int) -> Tensor:
    """Return the IoU that labels 1..count can be expected to have, as the gateway does."""
    padded = torch.nn.functional.pad(labels, (1, 1, 1, 1))
    height, width = labels.shape
    sides = [padded[y : y + height, x : x + width] for y, x in ((0, 1), (2, 1), (1, 0), (1, 2))]
    free = labels == 0
    sums = torch.zeros(count + 1, dtype=torch.float64, device=labels.device)
    inside = sums.scatter_add(0, labels.flatten(), probability.double().flatten())
    for i, side in enumerate(sides):
        touched = free & (side > 0)
        for earlier in sides[:i]:  # a pixel between two of one instance counts once
            touched &= side != earlier
        sums.scatter_add_(0, side[touched], probability[touched].double())
    areas = torch.bincount(labels.flatten(), minlength=count + 1)
    return (inside / (areas + sums).clamp(min=1))[1:].float()


def _calibrated(confidence: Tensor, overlap: Tensor, calibration: Sequence[float]) -> Tensor:
    """Return the scores that the gateway would give."""
    if not calibration:
        return confidence * overlap
    tightness, sureness, offset = calibration
    odds = tightness * confidence.double().logit(NEVER_SURE)
    odds += sureness * overlap.double().logit(NEVER_SURE) + offset
    return odds.sigmoid().float()


def _dequantised(embedding: Tensor, scale: list[float], slope: list[list[float]]) -> Tensor:
    vectors = embedding.float()
    if not scale:
        return vectors
    per_dimension = partial(torch.tensor, device=embedding.device)
    vectors = (vectors - _ZERO_BYTE) * per_dimension(scale)[:, None, None]
    if slope:
        down, across = per_dimension(slope)[:, :, None, None].unbind(dim=1)
        rows, columns = (torch.arange(n, device=embedding.device) for n in vectors.shape[2:])
        vectors += down * rows[:, None] + across * columns
    return vectors


def _centres(embedding: Tensor, mask: Tensor, radius2: float) -> tuple[Tensor, float]:
    """Return where mean shift on a lattice of pixels rests, (K, E), and how far centres reach."""
    step = min(6, max(1, isqrt(mask.numel() // 4096)))
    rows, columns = -(-mask.shape[0] // step), -(-mask.shape[1] // step)
    y = torch.arange(rows, device=mask.device)[:, None] * step
    # Every other row is shifted by half a step.
    shift = step // 2 * (torch.arange(rows, device=mask.device)[:, None] % 2)
    x = torch.arange(columns, device=mask.device)[None] * step + shift
    inside = x < mask.shape[1]
    grid = mask[y, x.clamp(max=mask.shape[1] - 1)] & inside
    y, x = y.expand_as(x)[grid], x[grid]
    samples = embedding[:, y, x].T.contiguous()
    leaders, _ = _leaders(samples, grid, radius2)
    centres, support, core = _shifted(leaders, samples, radius2)
    loose = float(core.sum()) < (1.0 - LOOSE) * float(support.sum())
    reach2 = radius2 * (REACH**2 if loose else 1.0)
    return _merged(centres, support, radius2 * APART**2, reach2), reach2


def _shifted(centres: Tensor, samples: Tensor, radius2: float) -> tuple[Tensor, Tensor, Tensor]:
    """Move each centre to the mean of the samples around it until it rests.

    Returns the resting places, how many samples lie around each, and how many near to it; none
    where a centre came, after any step, to the resting place of an earlier one.
    """
    support, core = samples.new_zeros(2, len(centres))
    moving = torch.ones(len(centres), dtype=torch.bool, device=centres.device)
    path = [centres]
    while bool(moving.any()) and len(path) <= ROUNDS:
        centres = centres.clone()
        support[moving], core[moving], mean = _ball(centres[moving], samples, radius2)
        rests = ((mean - centres[moving]) ** 2).sum(dim=1) <= radius2 * 1e-4
        centres[moving] = mean
        moving[moving.clone()] = ~rests
        path.append(centres)
    followed = _followers(torch.stack(path).cpu().numpy()[1:], radius2)
    support[followed] = core[followed] = 0.0
    return centres, support, core


def _followers(path: Float32, radius2: float) -> list[int]:
    """Return which centres of a path (steps, K, E) come to where an earlier one rests."""
    followed: list[int] = []
    rested = path[-1:, :0].reshape(0, path.shape[2])
    for k in range(path.shape[1]):
        gaps2 = ((path[:, k, None] - rested) ** 2).sum(axis=2)
        if (gaps2 <= radius2 / 16.0).any():
            followed.append(k)
        elif len(rested) < FEW:
            rested = np.concatenate((rested, path[-1:, k]))
    return followed


def _ball(centres: Tensor, samples: Tensor, radius2: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many samples lie around each centre, how many near to it, and their mean."""
    numbers, cores, means = [], [], []
    for part in torch.split(centres, _CHUNK // 32):
        d2 = _distance2(part, samples)
        inside = (d2 < radius2).to(samples.dtype)
        number = inside.sum(dim=1)
        numbers.append(number)
        cores.append((d2 <= 0.25 * radius2).sum(dim=1).to(samples.dtype))
        means.append(torch.where(number[:, None] > 0, inside @ samples / number[:, None], part))
    return torch.cat(numbers), torch.cat(cores), torch.cat(means)


def _leaders(samples: Tensor, grid: Tensor, radius2: float) -> tuple[Tensor, Tensor]:
    """Gather samples in raster order around means that move, as the gateway does.

    One after the other, so on the CPU: a GPU would wait for itself at every sample.

    Parameters
    ----------
    samples : (S, E) float32
        In raster order.
    grid : (rows, columns) bool
        Where they are.
    radius2 : float
        A sample farther than this from every mean begins a new one.

    Returns
    -------
    means : (K, E) float32
    members : (K,) int64
    """
    vectors = samples.cpu().numpy()
    owners = np.full((grid.shape[0] + 1, grid.shape[1] + 2), -1, np.int64)  # with a margin
    means = np.empty((MOST_CENTRES, samples.shape[1]), np.float32)
    members = np.zeros(MOST_CENTRES, np.int64)
    count = 0
    for vector, (j, i) in zip(vectors, grid.nonzero().tolist(), strict=True):
        owner = -1
        for near in (owners[j + 1, i], owners[j, i], owners[j, i + 1], owners[j, i + 2]):
            if near >= 0 and _gap2(means[near], vector) < radius2:
                owner = int(near)
                break
        if owner < 0 and count:
            gaps2 = ((means[:count] - vector) ** 2).sum(axis=1)
            nearest = int(gaps2.argmin())
            owner = nearest if gaps2[nearest] < radius2 else -1
        if owner < 0:
            if count == MOST_CENTRES:
                continue
            owner, means[count], count = count, vector, count + 1
        owners[j + 1, i + 1] = owner
        members[owner] += 1
        means[owner] += (vector - means[owner]) * np.float32(1.0 / members[owner])
    device = samples.device
    return torch.from_numpy(means[:count]).to(device), torch.from_numpy(members[:count]).to(device)


def _gap2(first: Float32, second: Float32) -> float:
    gap = first - second
    return float(gap @ gap)


def _merged(centres: Tensor, support: Tensor, apart2: float, reach2: float) -> Tensor:
    """Keep the centres that no better supported one is near to, best first."""
    order = torch.argsort(support, descending=True, stable=True)
    centres, support = centres[order], support[order]
    outlier = support[:, None] * OUTWEIGHS <= support[None]
    d2 = _distance2(centres, centres)
    near = ((d2 <= apart2) | (outlier & (d2 <= reach2))).cpu()
    kept: list[int] = []
    for k in range(len(centres)):
        if not near[k, kept].any():
            kept.append(k)
    return centres[kept]


def _missed(
    embedding: Tensor, mask: Tensor, strays: Tensor, radius2: float, min_pixels: float
) -> Tensor:
    """Return centres of instances that the lattice has missed: strays with like neighbours."""
    lost = torch.zeros_like(mask)
    lost[mask] = strays
    together = torch.zeros_like(mask) if min_pixels > 1 else lost
    for axis in (0, 1) if min_pixels > 1 else ():
        span = mask.shape[axis] - 1
        pair = lost.narrow(axis, 0, span) & lost.narrow(axis, 1, span)
        gap = embedding.narrow(axis + 1, 0, span) - embedding.narrow(axis + 1, 1, span)
        pair &= (gap**2).sum(dim=0) <= radius2
        together.narrow(axis, 0, span).logical_or_(pair)
        together.narrow(axis, 1, span).logical_or_(pair)
    means, members = _leaders(embedding[:, together].T.contiguous(), together, radius2)
    return means[members >= max(min_pixels, 1)]


def _nearest(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest centre of every vector and the square of the way there."""
    if not len(centres):
        nowhere = vectors.new_full((len(vectors),), torch.inf)
        return torch.zeros_like(nowhere, dtype=torch.int64), nowhere
    parts = [_distance2(part, centres).min(dim=1) for part in torch.split(vectors, _CHUNK)]
    if not parts:
        return torch.zeros(0, dtype=torch.int64, device=vectors.device), vectors.new_zeros(0)
    return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts])


def _distance2(first: Tensor, second: Tensor) -> Tensor:
    # Not by way of a matrix product, which loses the small differences of large numbers.
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(first, second, compute_mode=mode) ** 2


def _mean(values: Tensor, numbers: Tensor, count: int) -> Tensor:
    """Return the mean of `values` over each number 1..count, in double precision."""
    sums = torch.zeros(count + 1, dtype=torch.float64, device=values.device)
    sums.scatter_add_(0, numbers, torch.where(numbers > 0, values, 0.0).double())
    areas = torch.bincount(numbers, minlength=count + 1).clamp(min=1)
    return (sums / areas)[1:].float()
