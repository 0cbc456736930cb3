"""The loss that training minimises: the method's embedding loss and the foreground loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from service import signature
from training.config import LossConfig
from training.losses.discriminative import discriminative_loss
from training.losses.foreground import foreground_loss
from training.losses.targets import Targets, at_size


def losses(
    outputs: Mapping[str, Tensor], targets: Targets, config: LossConfig
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

    Returns
    -------
    dict of str to 0-d tensor
        Every term, and ``total``. Classes are summed: each has its own embedding loss, so that
        instances of different classes may share embedding space.
    """
    embedding, logits = outputs[signature.EMBEDDING], outputs[signature.FOREGROUND]
    terms: dict[str, Tensor] = {}
    for index in range(logits.shape[1]):
        labels = targets.of_class(index)
        small = at_size(labels, embedding.shape[2], embedding.shape[3])
        parts = discriminative_loss(embedding, small, config.discriminative)
        mask = foreground_loss(logits[:, index], labels, config.mask)
        named = {f"embedding/{key}": value for key, value in parts.items()}
        named |= {f"foreground/{key}": value for key, value in mask.items()}
        for key, value in named.items():
            terms[key] = terms[key] + value if key in terms else value
    terms["total"] = (
        config.embedding * terms["embedding/total"] + config.foreground * terms["foreground/total"]
    )
    return terms
