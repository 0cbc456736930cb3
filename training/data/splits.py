"""Which images train and which validate: by list where there is one, else by rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from training.data.dataset import DataError
from training.data.files import read_list

EVERYTHING = "all"
"""The split that holds every image."""


def choose(root: Path, split: str, found: Sequence[str], val_share: float) -> tuple[str, ...]:
    """Give the ids of a split of a data set that may come without lists.

    Parameters
    ----------
    root : Path
        Where ``<split>.txt`` may lie; it decides where it exists.
    split : str
        ``all``; else ``train`` or ``val``, dealt by a digest of the id, so that adding images
        moves no other.
    found : sequence of str
        Every id there is.
    val_share : float
        Part that validates.

    Raises
    ------
    DataError
        If nothing is found, the split is unknown, or nothing falls into it.
    """
    if not found:
        raise DataError([f"{root}: no image of this layout in it"])
    path = root / f"{split}.txt"
    if path.is_file():
        return read_list(path)
    if split == EVERYTHING:
        return tuple(sorted(found))
    if split not in ("train", "val"):
        raise DataError([f"{path}: no such split list, and the rule knows train, val and all"])
    ids = tuple(name for name in sorted(found) if _validates(name, val_share) == (split == "val"))
    if not ids:
        raise DataError([f"{root}: none of {len(found)} images falls into {split}; write {path}"])
    return ids


def _validates(name: str, val_share: float) -> bool:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < val_share * 2**32
