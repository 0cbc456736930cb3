"""Time the discriminative loss, forward and backward, against its form with loops.

``python -m benchmarks.loss`` takes 8 images of 512 x 512 pixels, 16 dimensions and 100 instances,
and prints both times, their ratio, and the memory the loss takes beyond its input and gradient.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from training.config.loss import DiscriminativeConfig
from training.losses.discriminative import discriminative_loss

SHAPE = (8, 16, 512, 512)
SETTINGS = DiscriminativeConfig()


def grid_labels(batch: int, side: int) -> Tensor:
    """Give (batch, side, side) labels of ten by ten squares."""
    index = torch.arange(side) * 10 // side
    return (index[:, None] * 10 + index[None] + 1).expand(batch, side, side).contiguous()


def looped_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """Compute the equations of arXiv:1708.02551 one instance and one pair at a time."""
    totals = []
    for vectors, truth in zip(embedding, labels, strict=True):
        ids = [number for number in truth.unique().tolist() if number > 0]
        means, pulls = [], []
        for number in ids:
            pixels = vectors[:, truth == number]
            mean = pixels.mean(1)
            far = (pixels - mean[:, None]).norm(dim=0)
            pulls.append((far - SETTINGS.delta_var).clamp_min(0).square().mean())
            means.append(mean)
        pushes = [
            (2 * SETTINGS.delta_dist - (one - other).norm()).clamp_min(0).square()
            for a, one in enumerate(means)
            for b, other in enumerate(means)
            if a != b
        ]
        sizes = torch.stack([mean.norm() for mean in means]).mean()
        totals.append(
            SETTINGS.alpha * torch.stack(pulls).mean()
            + SETTINGS.beta * torch.stack(pushes).mean()
            + SETTINGS.gamma * sizes
        )
    return torch.stack(totals).mean()


def vectorised_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """Compute the same with the project's loss."""
    return discriminative_loss(embedding, labels, SETTINGS)["total"]


def seconds(loss: Callable[[Tensor, Tensor], Tensor], embedding: Tensor, labels: Tensor) -> float:
    """Time one forward and backward pass."""
    started = time.perf_counter()
    torch.autograd.backward([loss(embedding, labels)])
    return time.perf_counter() - started


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    labels = grid_labels(SHAPE[0], SHAPE[2])
    embedding = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    embedding.grad = torch.zeros_like(embedding)
    vectorised_loss(embedding[:1, :, :64, :64], labels[:1, :64, :64])
    before = peak_bytes()
    own = [seconds(vectorised_loss, embedding, labels)]
    taken = peak_bytes() - before
    looped = []
    for _ in range(options.rounds):
        own.append(seconds(vectorised_loss, embedding, labels))
        looped.append(seconds(looped_loss, embedding, labels))
    torch.testing.assert_close(
        vectorised_loss(embedding, labels), looped_loss(embedding, labels), rtol=1e-4, atol=1e-4
    )
    ratio = sorted(slow / quick for slow, quick in zip(looped, own[1:], strict=True))
    print(f"loops {min(looped):.2f} s, vectorised {min(own):.3f} s")
    print(f"{ratio[len(ratio) // 2]:.1f} times as fast (median of {options.rounds} rounds)")
    print(f"peak memory beyond input and gradient {taken / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
