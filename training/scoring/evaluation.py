"""From a network and a data set to scores, with the code that serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.arrays import Int32
from service.postprocess.extract import extract
from service.postprocess.segmentation import Segmentation
from service.recipe import Recipe
from training.data.dataset import Dataset, Sample
from training.data.transforms import consecutive
from training.metrics.coco import CocoAp
from training.metrics.score import ImageScore, Score, score_labels
from training.scoring.decoding import Network, samples


def evaluate(
    network: Network, dataset: Dataset, recipe: Recipe, coco: CocoAp | None = None
) -> Score:
    """Label every image and score it.

    Parameters
    ----------
    network : Network
        Runs once per image.
    dataset : Dataset
        Images with truth.
    recipe : Recipe
        How the network's output is read.
    coco : CocoAp, optional
        Receives every image's truth and answer.
    """
    images = []
    for sample in samples(dataset):
        found = extract(network.predict(sample.image), recipe, sample.labels.shape)
        images.append(score_answer(sample, found))
        if coco is not None:
            ids = np.unique(sample.labels[sample.labels > 0])
            classes = np.append(np.int32(0), sample.classes_at(ids))
            coco.add(consecutive(sample.labels), classes, found.instances)
    return Score(tuple(images))


def score_answer(sample: Sample, found: Segmentation) -> ImageScore:
    """Score one answer; where the sample tells classes apart, only equal ones match."""
    scores = [instance.score for instance in found.instances]
    classes = classes_of(sample, [instance.category.id for instance in found.instances])
    return score_labels(sample.name, sample.labels, found.labels, scores=scores, classes=classes)


def classes_of(sample: Sample, found: Sequence[int]) -> tuple[Int32, Int32] | None:
    """Give true and found classes by id, as `overlap` takes them; None where all are of one.

    Parameters
    ----------
    sample : Sample
        With the truth.
    found : sequence of int
        Category ids of the found instances 1, 2, ...
    """
    if sample.classes is None:
        return None
    return sample.classes, np.array([0, *found], np.int32)
