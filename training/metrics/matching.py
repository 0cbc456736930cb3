"""One-to-one matching of label images: TP, FP, FN, AP as DSB2018 and StarDist count it, F1, PQ.

Axes: T true instances, P predicted instances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from service.arrays import Float64, Int32, Int64


@dataclass(frozen=True, slots=True)
class Overlap:
    """What every metric here needs of a pair of label images.

    Parameters
    ----------
    pixels : (T, P) int64
        Pixels shared by each true and predicted instance.
    true_sizes, pred_sizes : (T,), (P,) int64
        Pixels of each instance, ignored ones left out.
    pred_ids : (P,) int64
        Ids of the predicted instances, ascending.
    """

    pixels: Int64
    true_sizes: Int64
    pred_sizes: Int64
    pred_ids: Int64

    @property
    def iou(self) -> Float64:
        """(T, P) intersection over union."""
        union = self.true_sizes[:, None] + self.pred_sizes[None, :] - self.pixels
        return np.asarray(self.pixels / np.maximum(union, 1), np.float64)

    @property
    def dice(self) -> Float64:
        """(T, P) Dice coefficients."""
        sizes = self.true_sizes[:, None] + self.pred_sizes[None, :]
        return np.asarray(2 * self.pixels / np.maximum(sizes, 1), np.float64)


@dataclass(frozen=True, slots=True)
class Matching:
    """Counts at one threshold.

    Parameters
    ----------
    tp, fp, fn : int
        True positives, false positives, false negatives.
    iou_sum : float
        Sum of the IoU of the true positives.
    """

    tp: int
    fp: int
    fn: int
    iou_sum: float = 0.0

    def __add__(self, other: Matching) -> Matching:
        return Matching(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.iou_sum + other.iou_sum,
        )

    @property
    def ap(self) -> float:
        """TP / (TP + FP + FN); 1 when there is nothing to find and nothing was found."""
        total = self.tp + self.fp + self.fn
        return self.tp / total if total else 1.0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 when both sides are empty."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 1.0

    @property
    def panoptic_quality(self) -> float:
        """Sum of IoU over TP + FP / 2 + FN / 2, pooled over classes; 1 when both sides are empty.

        The paper (arXiv:1801.00868) takes the mean over classes instead.
        """
        total = self.tp + self.fp / 2 + self.fn / 2
        return self.iou_sum / total if total else 1.0


Labels = Int32


def overlap(true: Labels, pred: Labels, classes: tuple[Labels, Labels] | None = None) -> Overlap:
    """Count shared pixels of every pair of instances in one pass.

    Parameters
    ----------
    true : (H, W) int32
        0 background, 1..T, negative: pixels that count for nobody. Ids need not be consecutive.
    pred : (H, W) int32
        0 background, 1..P. Ids need not be consecutive.
    classes : pair of (N,) int32, optional
        Class of each true and each predicted id, at its index: instances of different classes
        share nothing.

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    Of predictions, only the pixels that are not ignored count. One that lies on ignored pixels by
    more than half, and matches nothing with an IoU above 0.5, counts for nobody (the rule of
    panoptic quality for void).
    """
    if true.shape != pred.shape:
        raise ValueError(f"true is {true.shape}, pred is {pred.shape}")
    known = true >= 0
    true_ids, row = np.unique(np.append(true[known], 0), return_inverse=True)
    pred_ids, column = np.unique(np.append(pred[known], 0), return_inverse=True)
    shape = (true_ids.size, pred_ids.size)
    table = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1]).reshape(shape)
    # The appended zero makes sure that row 0 and column 0 are the background.
    table[0, 0] -= 1
    pixels, true_sizes, pred_sizes = table[1:, 1:], table.sum(1)[1:], table.sum(0)[1:]
    if classes is not None:
        equal = classes[0][true_ids[1:], None] == classes[1][None, pred_ids[1:]]
        pixels = np.where(equal, pixels, 0)
    pair = Overlap(pixels, true_sizes, pred_sizes, pred_ids[1:].astype(np.int64))
    return pair if known.all() else _without_ignored(pair, pred[~known])


def _without_ignored(pair: Overlap, ignored: Labels) -> Overlap:
    """Drop the predictions that match nothing and lie on ignored pixels by more than half."""
    most = int(pair.pred_ids.max(initial=0))
    outside = np.bincount(ignored, minlength=most + 1)[pair.pred_ids]
    kept = (outside <= pair.pred_sizes) | (pair.iou.max(axis=0, initial=0.0) > 0.5)
    return Overlap(
        pair.pixels[:, kept], pair.true_sizes, pair.pred_sizes[kept], pair.pred_ids[kept]
    )


def match(pair: Overlap, threshold: float, *, strict: bool = False) -> Matching:
    """Match true and predicted instances one to one at an IoU threshold.

    Parameters
    ----------
    pair : Overlap
        Of one image.
    threshold : float
        IoU from which a pair counts.
    strict : bool
        Ask for more than the threshold rather than for as much (panoptic quality does).

    Notes
    -----
    The assignment has the most pairs, and among those the largest sum of IoU, as StarDist's.
    """
    iou = pair.iou
    n_true, n_pred = iou.shape
    enough = iou > threshold if strict else iou >= threshold
    if not enough.any():
        return Matching(0, n_pred, n_true)
    rows, columns = linear_sum_assignment(
        enough + np.where(enough, iou, 0) / (2 * min(n_true, n_pred)), maximize=True
    )
    hit = enough[rows, columns]
    tp = int(hit.sum())
    return Matching(tp, n_pred - tp, n_true - tp, float(iou[rows, columns][hit].sum()))


def pooled(matchings: Iterable[Matching]) -> Matching:
    """Add the counts of many images."""
    return sum(matchings, Matching(0, 0, 0))
