"""What went wrong with the instances that were not found: missed, merged, in pieces, misdrawn.

AP counts them alike, yet each has a cure of its own: a foreground threshold and small instances in
training for what is missed, a smaller bandwidth or fewer joins for what is merged, the opposite for
what is in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from training.metrics.matching import Overlap

FOUND = 0.5
"""An instance is found where its IoU with a predicted one is more: no other can have as much."""


class Faults(NamedTuple):
    """Counts of instances; all but the last add up to those that are drawn.

    Parameters
    ----------
    found : int
        True instances with a predicted one of their own.
    missed : int
        Others of which no half is covered by predicted ones.
    merged : int
        Others that share a predicted one, most of each lying in it.
    pieces : int
        Others most of which is covered by two or more predicted ones that lie mostly in it.
    misdrawn : int
        The rest: covered, but with another outline.
    spurious : int
        Predicted instances that lie mostly where nothing is drawn.
    """

    found: int = 0
    missed: int = 0
    merged: int = 0
    pieces: int = 0
    misdrawn: int = 0
    spurious: int = 0

    def __str__(self) -> str:
        """Say it in one sentence."""
        drawn = sum(self) - self.spurious
        return (
            f"of {drawn} drawn {self.found} found, {self.missed} missed, {self.merged} merged, "
            f"{self.pieces} in pieces, {self.misdrawn} misdrawn; {self.spurious} where none is"
        )


def faults(pair: Overlap) -> Faults:
    """Say what became of every instance of one image.

    Parameters
    ----------
    pair : Overlap
        The two label images.
    """
    pixels, true, pred = pair.pixels, pair.true_sizes, pair.pred_sizes
    lost = pair.iou.max(axis=1, initial=0.0) <= FOUND
    swallowed = 2 * pixels > true[:, None]
    shared = swallowed & (swallowed.sum(axis=0) > 1)
    within = 2 * pixels > pred[None, :]
    covered = (pixels * within).sum(axis=1)
    missed = lost & (2 * pixels.sum(axis=1) <= true)
    merged = lost & ~missed & shared.any(axis=1)
    pieces = lost & ~missed & ~merged & (within.sum(axis=1) > 1) & (2 * covered > true)
    return Faults(
        found=int((~lost).sum()),
        missed=int(missed.sum()),
        merged=int(merged.sum()),
        pieces=int(pieces.sum()),
        misdrawn=int((lost & ~missed & ~merged & ~pieces).sum()),
        spurious=int((2 * pixels.sum(axis=0) < pred).sum()),
    )


def added(images: Iterable[Faults]) -> Faults:
    """Add the counts of many images."""
    return Faults(*map(sum, zip(*images, strict=True)))
