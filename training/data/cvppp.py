"""The layout of the CVPPP leaf segmentation challenge, one folder such as ``A1``.

``plantNNN_rgb.png``, ``plantNNN_label.png`` (a number per leaf) and, where it is given,
``plantNNN_fg.png`` (plant or not).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.data.dataset import IGNORE, Sample
from training.data.files import read_image, read_labels, require_instances, require_size
from training.data.splits import choose

IMAGE, LABEL, FOREGROUND = "_rgb.png", "_label.png", "_fg.png"


@dataclass(frozen=True, slots=True)
class CvpppDataset:
    """Plants and their leaves.

    Parameters
    ----------
    root : Path
        The folder of one subset.
    ids : tuple of str
        ``plantNNN``.
    allow_empty : bool
        Take images without an instance, which otherwise count as broken.

    Notes
    -----
    What the foreground mask calls plant and the label map gives to no leaf is ignored.
    """

    root: Path
    ids: tuple[str, ...]
    allow_empty: bool = False

    @classmethod
    def open(
        cls, root: Path, split: str, val_share: float, *, allow_empty: bool = False
    ) -> CvpppDataset:
        """Find the images of a split (`training.data.splits.choose`)."""
        found = [path.name.removesuffix(IMAGE) for path in root.glob(f"*{IMAGE}")]
        return cls(root, choose(root, split, found, val_share), allow_empty)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        image = read_image(self.root / f"{name}{IMAGE}")
        path = self.root / f"{name}{LABEL}"
        labels = read_labels(path)
        require_size(path, labels.shape, image.shape[:2])
        if not self.allow_empty:
            require_instances(path, labels)
        plant_path = self.root / f"{name}{FOREGROUND}"
        if plant_path.is_file():
            plant = read_labels(plant_path) > 0
            require_size(plant_path, plant.shape, labels.shape)
            labels[plant & (labels == 0)] = IGNORE
        return Sample(name, image, labels)
