"""The loss that training minimises: the method's embedding loss and the foreground loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from service import signature
from training.config.loss import LossConfig
from training.losses.associative import associative_loss
from training.losses.discriminative import discriminative_loss
from training.losses.foreground import foreground_loss
from training.losses.metric_learning import metric_learning_loss
from training.losses.recurrent import recurrent_loss
from training.losses.spatial import spatial_loss
from training.losses.targets import Targets, at_size


def losses(
    outputs: Mapping[str, Tensor],
    targets: Targets,
    config: LossConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Compute every term by name.

    Parameters
    ----------
    outputs : mapping of str to tensor
        The network's, float32.
    targets : Targets
        Ground truth at image size.
    config : LossConfig
        Method and weights.
    generator : Generator, optional
        Draws pixels for the methods that sample; seeded with 0 when absent.

    Returns
    -------
    dict of str to 0-d tensor
        Every term, and ``total``. Classes are summed: each has its own embedding loss, so that
        instances of different classes may share embedding space.
    """
    generator = generator or torch.Generator().manual_seed(0)
    logits = outputs[signature.FOREGROUND]
    terms: dict[str, Tensor] = {}
    for index in range(logits.shape[1]):
        labels = targets.of_class(index)
        parts = method_loss(outputs, index, labels, config, generator)
        mask = foreground_loss(logits[:, index], labels, config.mask)
        named = {f"embedding/{key}": value for key, value in parts.items()}
        named |= {f"foreground/{key}": value for key, value in mask.items()}
        for key, value in named.items():
            terms[key] = terms[key] + value if key in terms else value
    terms["total"] = (
        config.embedding * terms["embedding/total"] + config.foreground * terms["foreground/total"]
    )
    return terms


def method_loss(
    outputs: Mapping[str, Tensor],
    index: int,
    labels: Tensor,
    config: LossConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Compute the embedding loss of one class with the configured method.

    Parameters
    ----------
    outputs : mapping of str to tensor
        The network's.
    index : int
        0-based class.
    labels : (B, H, W) int64
        Instances of that class, at image size.
    config : LossConfig
        Method and its settings.
    generator : Generator
        Draws pixels for the methods that sample.
    """
    embedding = outputs[signature.EMBEDDING]
    small = at_size(labels, embedding.shape[2], embedding.shape[3])
    # Settings count pixels of the image, the losses those of the embedding.
    stride = labels.shape[2] // embedding.shape[3]
    match config.method:
        case "discriminative":
            radius_px = config.discriminative.push_radius_px / stride
            return discriminative_loss(
                embedding, small, replace(config.discriminative, push_radius_px=radius_px)
            )
        case "associative":
            return associative_loss(embedding, small, config.associative, generator)
        case "metric_learning":
            seediness = outputs[signature.SEEDINESS]
            return metric_learning_loss(
                embedding, seediness, small, config.metric_learning, generator
            )
        case "recurrent":
            return recurrent_loss(embedding, small, config.recurrent, generator)
        case "spatial":
            sigma, seediness = outputs[signature.SIGMA], outputs[signature.SEEDINESS]
            own = replace(config.spatial, unit_px=config.spatial.unit_px / stride)
            return spatial_loss(embedding, sigma, seediness[:, index], small, own)
