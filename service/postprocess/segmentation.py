"""What was found in an image, best first; what an answer does not show is not made.

Most answers hold run lengths and numbers alone: neither a label image in their order nor an object
for each instance, which together take a tenth of the time of finding them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.arrays import Float64, Int32, Int64
from service.domain import Category, Instance
from service.masks.rle import Regions
from service.postprocess.regions import names_in, rename


class Segmentation:
    """Instances of one image.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..N; changed in place when `labels` is asked for.
    order : (K,) int
        The label of each instance, less 1; K is at most N.
    regions : Regions
        Of labels 1..N.
    scores : (N,) float64
        In [0, 1].
    classes : (N,) int64
        Index into `categories`.
    categories : sequence of Category
        What there is.

    Attributes
    ----------
    scores, areas_px, boxes_xywh, centroids_xy : (K, ...) array
        Of the instances, in their order.
    categories : list of Category
        Of the instances.
    rles : list of Rle
        Of the instances.
    """

    def __init__(
        self,
        labels: Int32,
        order: npt.NDArray[np.intp],
        regions: Regions,
        scores: Float64,
        classes: Int64,
        categories: Sequence[Category],
    ) -> None:
        self._labels = labels
        self._names = names_in(order, scores.size)
        self._renamed = False
        self.scores = scores[order]
        self.areas_px = regions.areas_px[order]
        self.boxes_xywh = regions.boxes_xywh[order]
        self.centroids_xy = regions.centroids_xy[order]
        self.categories = [categories[c] for c in classes[order].tolist()]
        self.rles = [regions.rles[i] for i in order.tolist()]

    @property
    def count(self) -> int:
        """Number of instances."""
        return len(self.rles)

    @property
    def labels(self) -> Int32:
        """Label image, (H, W) int32: 0 background, else the `Instance.id`."""
        if not self._renamed:
            rename(self._labels, self._names)
            self._renamed = True
        return self._labels

    @property
    def instances(self) -> tuple[Instance, ...]:
        """An object for each instance, in the order of their ids."""
        return tuple(
            Instance(i, category, score, area, (x, y, width, height), (mid_x, mid_y), rle)
            for i, (category, score, area, (x, y, width, height), (mid_x, mid_y), rle) in enumerate(
                zip(
                    self.categories,
                    self.scores.tolist(),
                    self.areas_px.tolist(),
                    self.boxes_xywh.tolist(),
                    self.centroids_xy.tolist(),
                    self.rles,
                    strict=True,
                ),
                start=1,
            )
        )
