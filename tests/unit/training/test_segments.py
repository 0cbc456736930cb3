"""Sums over instances."""

from __future__ import annotations

import torch

from training.losses.segments import segment
from training.losses.targets import Targets, at_size


def test_instances_are_numbered_within_their_image_in_ascending_order_of_their_ids() -> None:
    labels = torch.tensor([[[0, 900, 5]], [[-1, 7, 7]]])
    segments = segment(torch.zeros(2, 1, 1, 3), labels)
    assert segments.index.tolist() == [1, 0, 2, 2]
    assert segments.counts.tolist() == [[1, 1], [2, 0]]
    assert segments.valid.tolist() == [[True, True], [True, False]]


def test_ids_far_apart_are_numbered_as_those_close_together() -> None:
    close = torch.tensor([[[0, 3, 1, 1]], [[2, -1, 3, 2]]])
    far = torch.where(close > 0, close * 2**40, close)
    near, wide = segment(torch.zeros(2, 1, 1, 4), close), segment(torch.zeros(2, 1, 1, 4), far)
    assert near.index.tolist() == wide.index.tolist() == [1, 0, 0, 2, 3, 2]
    assert near.counts.tolist() == wide.counts.tolist() == [[2, 1], [2, 1]]


def test_means_follow_their_pixels() -> None:
    labels = torch.tensor([[[1, 1, 2, 0]]])
    segments = segment(torch.tensor([[[[1.0, 3.0, 10.0, 99.0]]]]), labels)
    assert segments.mean(segments.pixels)[0, :, 0].tolist() == [2.0, 10.0]
    assert segments.spread(segments.mean(segments.pixels))[:, 0].tolist() == [2.0, 2.0, 10.0]


def test_labels_shrink_by_nearest_neighbour() -> None:
    labels = torch.tensor([[[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 3, 3], [0, 0, 3, 3]]])
    assert at_size(labels, 2, 2).tolist() == [[[1, 2], [0, 3]]]
    assert at_size(labels, 4, 4) is labels


def test_a_class_sees_the_other_classes_as_background() -> None:
    targets = Targets(torch.tensor([[[1, 2, 0, -1]]]), torch.tensor([[[1, 2, 0, -1]]]))
    assert targets.of_class(0).tolist() == [[[1, 0, 0, -1]]]
    assert targets.of_class(1).tolist() == [[[0, 2, 0, -1]]]
