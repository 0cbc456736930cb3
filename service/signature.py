"""The tensors between gateway and network: names, axes, dtypes.

Export writes them, ``config.pbtxt`` repeats them to Triton, every backend checks them. Axes: N
batch, H W image (multiples of the recipe's ``size_multiple``), E embedding, C classes, h w output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

IMAGE: Final = "image"
"""(N, H, W, 3) uint8: RGB as decoded; normalisation happens in the graph."""

EMBEDDING: Final = "embedding"
"""(N, E, h, w) float16: pixel vectors; uint8 where the recipe has scales."""

FOREGROUND: Final = "foreground"
"""(N, C, H, W) float16: logits per class."""

SEEDINESS: Final = "seediness"
"""(N, S, h, w) float16: `metric_learning`: logits of being a good seed, one map per threshold;
`spatial`: logits of the seed map, one per class."""

SIGMA: Final = "sigma"
"""(N, 1 or 2, h, w) float16: `spatial`: log-bandwidth maps."""

LABELS: Final = "labels"
"""(N, H, W) uint16: 0 background, else the number of an instance; of a server that clusters."""

SCORES: Final = "scores"
"""(N, K) float32: of the instances 1..K."""

CLASSES: Final = "classes"
"""(N, K) uint8: index of each instance's class in the recipe."""

SIZES: Final = "sizes"
"""A parameter of a request to a server that clusters, as JSON: N times ``[H, W]`` without padding;
where it is missing, nothing was padded."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of the contract.

    Parameters
    ----------
    name : str
        Its name in the graph.
    dtype : str
        Triton's name of its type, such as ``"FP16"``.
    rank : int
        Number of axes, the batch axis included.
    """

    name: str
    dtype: str
    rank: int = 4


INPUT: Final = TensorSpec(IMAGE, "UINT8")

OUTPUTS: Final[dict[str, tuple[TensorSpec, ...]]] = {
    "discriminative": (TensorSpec(EMBEDDING, "FP16"), TensorSpec(FOREGROUND, "FP16")),
    "associative": (TensorSpec(EMBEDDING, "FP16"), TensorSpec(FOREGROUND, "FP16")),
    "metric_learning": (
        TensorSpec(EMBEDDING, "FP16"),
        TensorSpec(FOREGROUND, "FP16"),
        TensorSpec(SEEDINESS, "FP16"),
    ),
    "recurrent": (TensorSpec(EMBEDDING, "FP16"), TensorSpec(FOREGROUND, "FP16")),
    "spatial": (
        TensorSpec(EMBEDDING, "FP16"),
        TensorSpec(FOREGROUND, "FP16"),
        TensorSpec(SEEDINESS, "FP16"),
        TensorSpec(SIGMA, "FP16"),
    ),
}
"""Outputs by method. `associative` carries its tags, `spatial` its offsets, as the embedding."""

CLUSTERED: Final = (
    TensorSpec(LABELS, "UINT16", 3),
    TensorSpec(SCORES, "FP32", 2),
    TensorSpec(CLASSES, "UINT8", 2),
)
"""Outputs of a model that clusters on the server, whatever its method."""
