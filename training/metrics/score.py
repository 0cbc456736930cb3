"""Scores of images and data sets, put together from the metrics of this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.arrays import Bool, Float64, Int32
from training.metrics.dice import count_difference, foreground_dice, symmetric_best_dice
from training.metrics.faults import Faults, added, faults
from training.metrics.matching import Matching, match, overlap, pooled
from training.metrics.outline import outline_offset
from training.metrics.pieces import cut_and_kept

THRESHOLDS: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
"""IoU thresholds of the mean, those of StarDist's table (arXiv:1806.03535)."""

PRINTED = THRESHOLDS[::2]
"""Those of them that fit on a line."""

ALIKE_PX = 0.5
"""Up to this offset an image counts as drawn the way the network draws."""


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image's result.

    Parameters
    ----------
    name : str
        Its id.
    matchings : dict of float to Matching
        By threshold.
    panoptic : Matching
        At IoU above 0.5, strictly.
    sbd, fbd : float
        Symmetric best Dice and foreground Dice.
    dic : int
        Predicted minus true count.
    cut, kept : int
        True instances in several pieces, and those of them that kept one id.
    faults : Faults
        What became of every instance.
    outline_px : float
        How far outside the drawn outlines the found ones lie (`training.metrics.outline`).
    scores : tuple of float
        Of the predicted instances.
    right : tuple of bool
        Whether each covers a true instance with an IoU of 0.5 or more.
    """

    name: str
    matchings: dict[float, Matching]
    panoptic: Matching
    sbd: float
    fbd: float
    dic: int
    cut: int
    kept: int
    faults: Faults
    outline_px: float
    scores: tuple[float, ...]
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """The result over a data set.

    Parameters
    ----------
    images : tuple of ImageScore
        One or more.
    """

    images: tuple[ImageScore, ...]

    def ap(self, threshold: float) -> float:
        """Mean over images of TP / (TP + FP + FN)."""
        return float(np.mean([image.matchings[threshold].ap for image in self.images]))

    def pooled(self, threshold: float) -> Matching:
        """TP, FP, FN summed over images."""
        return pooled(image.matchings[threshold] for image in self.images)

    @property
    def mean_ap(self) -> float:
        """Mean of `ap` over the thresholds."""
        return float(np.mean([self.ap(threshold) for threshold in THRESHOLDS]))

    @property
    def sbd(self) -> float:
        """Mean symmetric best Dice."""
        return float(np.mean([image.sbd for image in self.images]))

    @property
    def fbd(self) -> float:
        """Mean foreground Dice."""
        return float(np.mean([image.fbd for image in self.images]))

    @property
    def abs_dic(self) -> float:
        """Mean absolute difference in count (LSC's definition)."""
        return float(np.mean([abs(image.dic) for image in self.images]))

    @property
    def pq(self) -> float:
        """Panoptic quality, pooled over images and classes."""
        return pooled(image.panoptic for image in self.images).panoptic_quality

    def outcomes(self) -> tuple[Float64, Bool]:
        """Give the score of every predicted instance, (N,), and whether it is right, (N,)."""
        scores = [score for image in self.images for score in image.scores]
        right = [right for image in self.images for right in image.right]
        return np.array(scores, np.float64), np.array(right, np.bool_)

    @property
    def calibration_error(self) -> float:
        """Mean gap between the scores of instances and the share of them that is right.

        Instances are taken together by tenths of the score, as in arXiv:1706.04599; 0 without any.
        """
        scores, right = self.outcomes()
        tenth = np.minimum(scores * 10, 9).astype(np.int64)
        gaps = np.bincount(tenth, scores - right, minlength=10)
        return float(np.abs(gaps).sum() / max(scores.size, 1))

    @property
    def outline_px(self) -> float:
        """Mean over images of how far found outlines lie from drawn ones, to either side."""
        return float(np.mean([abs(image.outline_px) for image in self.images]))

    @property
    def faults(self) -> Faults:
        """What became of every instance, summed over images."""
        return added(image.faults for image in self.images)

    def drawn_alike(self) -> Score | None:
        """Keep the images whose outlines lie within `ALIKE_PX`; None where there is none."""
        alike = tuple(image for image in self.images if abs(image.outline_px) <= ALIKE_PX)
        return Score(alike) if alike else None

    def summary(self) -> dict[str, Any]:
        """Give every figure by name, for JSON."""
        alike = self.drawn_alike()
        return {
            "images": len(self.images),
            "ap": {str(threshold): self.ap(threshold) for threshold in THRESHOLDS},
            "ap_pooled": {str(threshold): self.pooled(threshold).ap for threshold in THRESHOLDS},
            "f1_pooled": {str(threshold): self.pooled(threshold).f1 for threshold in THRESHOLDS},
            "mean_ap": self.mean_ap,
            "pq": self.pq,
            "sbd": self.sbd,
            "fbd": self.fbd,
            "abs_dic": self.abs_dic,
            "cut": sum(image.cut for image in self.images),
            "kept": sum(image.kept for image in self.images),
            "faults": self.faults._asdict(),
            "calibration_error": self.calibration_error,
            "outline_px": self.outline_px,
            "drawn_alike": {
                "images": len(alike.images) if alike else 0,
                "ap": {str(t): alike.ap(t) for t in THRESHOLDS} if alike else {},
            },
        }


def score_labels(
    name: str,
    true: Int32,
    pred: Int32,
    *,
    scores: Sequence[float] = (),
    classes: tuple[Int32, Int32] | None = None,
) -> ImageScore:
    """Compare two label images.

    Parameters
    ----------
    name : str
        Of the image.
    true, pred : (H, W) int32
        As `training.metrics.matching.overlap` takes them.
    scores : sequence of float
        Of the predicted ids 1, 2, ..; none: all are sure.
    classes : pair of (N,) int32, optional
        Likewise.
    """
    pair = overlap(true, pred, classes)
    cut, kept = cut_and_kept(true, pred)
    by_id = np.asarray(scores or np.ones(pred.max(initial=0)), np.float64)
    return ImageScore(
        name=name,
        matchings={threshold: match(pair, threshold) for threshold in THRESHOLDS},
        panoptic=match(pair, 0.5, strict=True),
        sbd=symmetric_best_dice(pair),
        fbd=foreground_dice(pair),
        dic=count_difference(pair),
        cut=cut,
        kept=kept,
        faults=faults(pair),
        outline_px=outline_offset(pair),
        scores=tuple(by_id[pair.pred_ids - 1].tolist()),
        right=tuple(bool(best >= THRESHOLDS[0]) for best in pair.iou.max(axis=0, initial=0.0)),
    )
