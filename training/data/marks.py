"""What people draw on pictures: scale bars, words, frames, grids, arrows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
from numpy.random import Generator

from service.arrays import UInt8

Draw = Callable[[UInt8, Generator, float], None]
"""Draws into a mask (H, W) of zeros, 255 where the mark covers all, the more the strength is 1."""


def bar(mask: UInt8, rng: Generator, strength: float) -> None:
    """Draw a scale bar, half of the time with its length above."""
    height, width = mask.shape
    long, thick = int(width * rng.uniform(0.1, 0.4)), int(rng.integers(2, 4 + round(8 * strength)))
    top, left = int(rng.uniform(0.02, 0.95) * height), int(rng.uniform(0.02, 0.6) * width)
    cv2.rectangle(mask, (left, top), (left + long, top + thick), 255, -1)
    if rng.random() < 0.5:
        _write(mask, rng, (left, max(top - 4, 12)))


def words(mask: UInt8, rng: Generator, strength: float) -> None:
    """Write one to four words."""
    height, width = mask.shape
    for _ in range(1 + round(3 * strength)):
        _write(mask, rng, (int(rng.uniform(0, 0.8) * width), int(rng.uniform(0.1, 1) * height)))


def frame(mask: UInt8, rng: Generator, strength: float) -> None:
    """Draw a line of 1 to 11 pixels around the picture."""
    thick = int(rng.integers(1, 3 + round(9 * strength)))
    mask[:thick] = mask[-thick:] = 255
    mask[:, :thick] = mask[:, -thick:] = 255


def grid(mask: UInt8, rng: Generator, strength: float) -> None:  # noqa: ARG001 - one kind
    """Draw lines a pixel wide, 48 to 160 pixels apart, whatever the strength."""
    every, first = int(rng.integers(48, 160)), int(rng.integers(48))
    mask[first::every] = 255
    mask[:, first::every] = 255


def arrows(mask: UInt8, rng: Generator, strength: float) -> None:
    """Draw one to three arrows."""
    for _ in range(1 + round(2 * strength)):
        start, end = ((int(x), int(y)) for x, y in rng.uniform(0, 1, (2, 2)) * mask.shape[::-1])
        cv2.arrowedLine(mask, start, end, 255, int(rng.integers(1, 4)), cv2.LINE_AA)


MARKS: Final[tuple[Draw, ...]] = (bar, bar, words, frame, grid, arrows)
"""All of them; the scale bar twice, as often as it is seen."""

_LETTERS = list("0123456789 umAaBbDKp.,:x%")


def _write(mask: UInt8, rng: Generator, place: tuple[int, int]) -> None:
    text = "".join(rng.choice(_LETTERS, size=int(rng.integers(2, 10))))
    size, face = rng.uniform(0.3, 1.2), int(rng.integers(4))
    cv2.putText(mask, text, place, face, size, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
