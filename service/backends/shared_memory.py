"""Regions of system shared memory: pooled, bounded, and never left behind.

A region is a file in ``/dev/shm`` whose lock its owner holds for life. The kernel lets go of the
lock however the owner ends, so whoever can take it knows that the region is nobody's: process ids
would not do, since containers that share ``/dev/shm`` do not share them.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from service.arrays import UInt8

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where the kernel keeps POSIX shared memory
PREFIX: Final = "discern-"
_GRAIN_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One piece of shared memory.

    Parameters
    ----------
    name : str
        Its file's name; ``"/" + name`` is what ``shm_open`` takes.
    data : (M,) uint8
        Its bytes, for as long as anybody holds a view of them.
    descriptor : int
        The open file, which holds the lock.
    """

    name: str
    data: UInt8
    descriptor: int


class RegionPool:
    """Regions of one process, handed out and taken back. For one thread.

    Parameters
    ----------
    limit_bytes : int
        The regions take no more than this together.
    folder : Path
        Where they lie.
    on_discard : callable
        Called when a region has lost its name; its memory is free once nobody maps it any more.
    """

    def __init__(
        self,
        limit_bytes: int,
        folder: Path = FOLDER,
        *,
        on_discard: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._folder = folder
        self._on_discard = on_discard
        self._token = secrets.token_hex(4)
        self._made = 0
        self._free: list[Region] = []
        self._named: set[Region] = set()
        self.used_bytes = 0

    def lease(self, size_bytes: int) -> Region | None:
        """Return a region of at least that size, or None when there is no room for it.

        Notes
        -----
        The smallest free region that is large enough; free ones that are too small are given up
        when the bound is reached otherwise.
        """
        fitting = [region for region in self._free if region.data.nbytes >= size_bytes]
        if fitting:
            region = min(fitting, key=lambda region: region.data.nbytes)
            self._free.remove(region)
            return region
        capacity = -(-max(size_bytes, 1) // _GRAIN_BYTES) * _GRAIN_BYTES
        while self.used_bytes + capacity > self._limit_bytes and self._free:
            self.discard(self._free.pop(0))
        if self.used_bytes + capacity > self._limit_bytes:
            return None
        return self._create(capacity)

    def give_back(self, region: Region) -> None:
        """Take a region back for the next call."""
        if region in self._named:
            self._free.append(region)

    def discard(self, region: Region) -> None:
        """Remove a region, also one that a server may still be writing to; it is not used again."""
        if region not in self._named:
            return
        self._named.remove(region)
        self.used_bytes -= region.data.nbytes
        with contextlib.suppress(FileNotFoundError):
            (self._folder / region.name).unlink()
        os.close(region.descriptor)
        self._on_discard()

    def close(self) -> None:
        """Remove every region; those handed out stay readable for as long as they are held."""
        self._free.clear()
        for region in list(self._named):
            self.discard(region)

    def _create(self, capacity: int) -> Region | None:
        self._made += 1
        name = f"{PREFIX}{self._token}-{self._made}"
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except OSError:  # no such folder, or not ours to write to
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Reserved now: a page that cannot be had later would kill the process (SIGBUS).
            os.posix_fallocate(descriptor, 0, capacity)
            mapping = mmap.mmap(descriptor, capacity)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return None
        self.used_bytes += capacity
        region = Region(name, np.frombuffer(mapping, np.uint8), descriptor)
        self._named.add(region)
        return region


def remove_stale(folder: Path = FOLDER) -> list[str]:
    """Remove the regions of gateways that are gone.

    Returns
    -------
    list of str
        Names of what was removed.
    """
    removed = []
    for path in sorted(folder.glob(f"{PREFIX}*")):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:  # another user's, or gone in this moment
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            removed.append(path.name)
        except BlockingIOError:  # its owner lives
            pass
        finally:
            os.close(descriptor)
    return removed
