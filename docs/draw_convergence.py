"""Draw how the vectors of one image converge, after Figure 3 of arXiv:1708.02551.

A small network with an embedding of two dimensions is trained on one generated image alone, and its
pixels are placed by their vectors as it learns: ``python -m docs.draw_convergence``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from service import signature
from service.masks.overlay import colours
from training.config.loss import DiscriminativeConfig
from training.config.model import ModelConfig
from training.data.synthetic import draw_nuclei
from training.losses.discriminative import discriminative_loss
from training.models.unet import UNet

PICTURE = Path(__file__).parent / "images" / "convergence.png"
SHOWN = (0, 8, 16, 32, 64, 128, 256)
"""Updates after which the vectors are drawn."""

MODEL = ModelConfig(widths=(16, 24, 32, 48), stem=2, embedding_size=2, coordinates="linear")
LOSS = DiscriminativeConfig()
LEARNING_RATE = 5e-3

Float = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


def main() -> int:
    """Write the picture."""
    rng = np.random.default_rng(15)
    image, labels = draw_nuclei(rng, height=128, width=128, nuclei=15, radius_px=11.0)
    steps = list(converge(image, labels))
    figure = Figure(figsize=(12, 6.4), dpi=100)
    axes = figure.subplots(2, 4).ravel()
    axes[0].imshow(image, cmap="gray")
    axes[0].set_title(f"{labels.max()} objects", fontsize=10)
    axes[0].set_axis_off()
    for axis, (step, loss, vectors) in zip(axes[1:], steps, strict=True):
        _draw(axis, vectors, labels)
        axis.set_title(f"{step} updates, loss {loss:.2f}", fontsize=10)
    figure.tight_layout()
    # Without the version of the library in it, the same picture is the same file.
    FigureCanvasAgg(figure).print_png(PICTURE, metadata={"Software": None})
    sys.stdout.write("".join(f"{step}: loss {loss:.4f}\n" for step, loss, _ in steps))
    return 0


def converge(image: npt.NDArray[np.uint8], labels: Labels) -> Iterator[tuple[int, float, Float]]:
    """Train on one image; give the update, the loss and the vectors (2, H, W) at `SHOWN`."""
    torch.manual_seed(0)
    model = UNet(MODEL)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    pixels = torch.from_numpy(image)[None, None].expand(-1, 3, -1, -1).float()
    truth = torch.from_numpy(labels)[None].long()
    for step in range(SHOWN[-1] + 1):
        embedding = model(pixels)[signature.EMBEDDING]
        loss = discriminative_loss(embedding, truth, LOSS)["total"]
        if step in SHOWN:
            yield step, loss.item(), embedding[0].detach().numpy().copy()
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        optimizer.step()


def _draw(axis: Axes, vectors: Float, labels: Labels) -> None:
    """Place the pixels in the colours of their objects, and the loss's margins around the means."""
    inside = labels > 0
    x, y = vectors[:, inside]
    axis.scatter(x, y, s=2, c=colours(int(labels.max()))[labels[inside]] / 255, linewidths=0)
    for number in range(1, int(labels.max()) + 1):
        centre = tuple(vectors[:, labels == number].mean(axis=1).tolist())
        axis.add_patch(Circle(centre, LOSS.delta_var, fill=False, color="0.2", linewidth=0.8))
        axis.add_patch(
            Circle(centre, LOSS.delta_dist, fill=False, color="0.7", linewidth=0.6, linestyle="--")
        )
    axis.set_aspect("equal", adjustable="datalim")
    axis.tick_params(labelsize=7)


if __name__ == "__main__":
    sys.exit(main())
