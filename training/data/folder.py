"""The folder layout, that of DSB2018 and Usiigaci here.

``images/<id>.png`` (or TIFF, JPEG, WebP, BMP, of any depth), one or more label folders with
``<id>.png`` or ``<id>.tif`` (0 background, 1..N instances), and split lists ``<split>.txt`` of ids,
one per line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.data.dataset import DataError, Sample
from training.data.files import (
    IMAGE_ENDINGS,
    LABEL_ENDINGS,
    find_file,
    read_image,
    read_labels,
    read_list,
    require_instances,
    require_size,
)


@dataclass(frozen=True, slots=True)
class FolderDataset:
    """Images and label maps in a folder.

    Parameters
    ----------
    root : Path
        The folder.
    ids : tuple of str
        File names without extension.
    label_folders : tuple of str
        The first that holds an id's mask gives it.
    allow_empty : bool
        Take images without an instance, which otherwise count as broken.
    """

    root: Path
    ids: tuple[str, ...]
    label_folders: tuple[str, ...] = ("labels",)
    allow_empty: bool = False

    @classmethod
    def open(
        cls, root: Path, split: str, label_folders: tuple[str, ...], *, allow_empty: bool = False
    ) -> FolderDataset:
        """Read a split list.

        Raises
        ------
        DataError
            If the list is missing or empty.
        """
        return cls(root, read_list(root / f"{split}.txt"), label_folders, allow_empty)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        image = read_image(self._image_path(name))
        path = self._label_path(name)
        labels = read_labels(path)
        require_size(path, labels.shape, image.shape[:2])
        if not self.allow_empty:
            require_instances(path, labels)
        return Sample(name, image, labels)

    def _image_path(self, name: str) -> Path:
        return find_file(self.root / "images", name, IMAGE_ENDINGS)

    def _label_path(self, name: str) -> Path:
        for folder in self.label_folders:
            path = find_file(self.root / folder, name, LABEL_ENDINGS)
            if path.is_file():
                return path
        tried = ", ".join(f"{folder}/" for folder in self.label_folders)
        raise DataError([f"{self._image_path(name)}: no mask in {tried}"])
