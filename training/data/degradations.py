"""What goes wrong between the specimen and the file: noise, shade, exposure, marks on the picture.

Images of users have all of it, those of data sets little. Training varies crops with it
(`AugmentConfig.degrade`), and ``training robustness`` measures what is left of a model's accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from service.arrays import Float32, Int32, UInt8
from training.data.dataset import IGNORE
from training.data.marks import MARKS

Degradation = Callable[[Float32, Int32, Generator, float], tuple[Float32, Int32]]
"""Takes an image (H, W) or (H, W, 3) in 0..255, its labels (H, W), and a strength from 0 to 1.

Gives the image, whose values may lie beyond 0..255, and labels without what can no longer be seen.
"""

OfImage = Callable[[Float32, Generator, float], Float32]
"""As above, for what hides no object."""

_FULL_SCALE = 64
"""Grey levels that an image uses at least before it is degraded, as one made to be looked at."""

_FALSE_COLOURS = (cv2.COLORMAP_HOT, cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_INFERNO, cv2.COLORMAP_MAGMA)


def degrade(
    image: Float32, labels: Int32, rng: Generator, name: str, strength: float
) -> tuple[Float32, Int32]:
    """Degrade an image, and bring it to grey levels as a file holds them.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) float32
        In 0..255.
    labels : (H, W) int32
        0 background.
    rng : Generator
        Source of chance.
    name : str
        One of `DEGRADATIONS`.
    strength : float
        From 0, hardly to be seen, to 1.

    Returns
    -------
    image : (H, W) or (H, W, 3) float32
        Whole numbers in 0..255.
    labels : (H, W) int32
        0 or `IGNORE` where an object can no longer be seen.
    """
    image, labels = DEGRADATIONS[name](image, labels, rng, strength)
    return np.clip(np.rint(image), 0, 255).astype(np.float32), labels


def degrade_at_random(image: Float32, labels: Int32, rng: Generator) -> tuple[Float32, Int32]:
    """Degrade an image in one way, or in two, of any strength; as `degrade`."""
    names = rng.choice(list(DEGRADATIONS), size=1 if rng.random() < 0.7 else 2, replace=False)
    for name in names:
        image, labels = degrade(image, labels, rng, str(name), float(rng.random()))
    return image, labels


def noise(image: Float32, rng: Generator, strength: float) -> Float32:
    """Add noise of 0.03 to 0.25 of the range, grainy or smooth, even or of the light itself."""
    image, span = _at_full_scale(image)
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32)
    if rng.random() < 0.3:
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.5, 1.2)), np.float32)
        grain /= max(float(grain.std()), 1e-6)
    if rng.random() < 0.5:
        grain *= np.sqrt(_grey(image).clip(0) / max(float(image.max()), 1.0) + 0.05)
    grain *= np.float32(span * 0.03 * (0.25 / 0.03) ** strength)
    return image + _broadcast(grain, image)


def stripes(image: Float32, rng: Generator, strength: float) -> Float32:
    """Lift and lower whole rows or columns, by 0.01 to 0.08 of the range."""
    image, span = _at_full_scale(image)
    rows, columns = image.shape[:2]
    lines = rng.standard_normal((rows, 1) if rng.integers(2) else (1, columns), dtype=np.float32)
    lines *= np.float32(span * 0.01 * 8**strength)
    return image + _broadcast(lines, image)


def hot_pixels(image: Float32, rng: Generator, strength: float) -> Float32:
    """Make one pixel in 20,000 to one in 70 bright, or dead."""
    hit = rng.random(image.shape[:2], dtype=np.float32) < 5e-5 * 300**strength
    image = image * np.float32(rng.uniform(0.3, 1)) if rng.random() < 0.5 else image.copy()
    image[hit] = 0 if rng.random() < 0.2 else 255
    return image


def shade(image: Float32, rng: Generator, strength: float) -> Float32:
    """Add uneven light from out of focus, of 0.2 to 2 times the range."""
    image, span = _at_full_scale(image)
    size = int(rng.integers(2, 5))
    field = _smooth(rng.uniform(0, 1, (size, size)), image)
    field = (field - field.min()) * np.float32(span * 0.2 * 10**strength)
    return _dimmed_to_fit(image + _broadcast(field, image))


def vignette(image: Float32, rng: Generator, strength: float) -> Float32:
    """Darken the image away from a point, to 0.2 of its light at least."""
    height, width = image.shape[:2]
    centre = rng.uniform(0, 1, 2)
    y = (np.arange(height, dtype=np.float32) / height - centre[0])[:, None]
    x = np.arange(width, dtype=np.float32) / width - centre[1]
    away = np.square(y) + np.square(x)
    light = 1 - np.float32(0.8 * strength) * away / away.max()
    return image * _broadcast(np.asarray(light, np.float32), image)


def exposure(image: Float32, rng: Generator, strength: float) -> Float32:
    """Expose for too long, so that objects saturate, or bend the scale of grey values."""
    low, high = _range(image)
    unit = np.clip((image - low) / (high - low), 0, 1)
    if rng.random() < 0.5:
        unit = unit * (1 + 3 * strength)
    else:
        unit = unit ** np.exp(rng.choice((-1, 1)) * strength)
    return np.asarray(unit * 255, np.float32)


def blur(image: Float32, rng: Generator, strength: float) -> Float32:  # noqa: ARG001 - one kind
    """Leave the focus: a standard deviation of 0.8 to 2 px."""
    image, _ = _at_full_scale(image)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8 + 1.2 * strength), np.float32)


def few_levels(image: Float32, rng: Generator, strength: float) -> Float32:  # noqa: ARG001
    """Leave 24 to 6 grey levels."""
    low, high = float(image.min()), float(image.max())
    step = max(high - low, 1.0) / round(24 - 18 * strength)
    return np.asarray(np.rint((image - low) / step) * step + low, np.float32)


def jpeg(image: Float32, rng: Generator, strength: float) -> Float32:  # noqa: ARG001
    """Compress, with a quality of 60 to 15."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(60 - 45 * strength)]
    _, coded = cv2.imencode(".jpg", image.astype(np.uint8), quality)
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.float32)


def dyes(image: Float32, rng: Generator, strength: float) -> Float32:
    """Show grey in false colours, or beside the light of other dyes around the objects."""
    if _is_coloured(image):
        return image
    low, high = _range(image)
    grey = np.clip((_grey(image) - low) * np.float32(255 / (high - low)), 0, 255)
    if rng.random() < 0.4:
        table = int(rng.choice(_FALSE_COLOURS))
        shown = cv2.applyColorMap(grey.astype(np.uint8), table)
        return np.asarray(shown[..., ::-1], np.float32)
    around = np.asarray(cv2.GaussianBlur(grey, (0, 0), rng.uniform(4, 16)), np.float32)
    around *= np.float32(strength * 255 / max(float(around.max()), 1.0))
    around *= _smooth(rng.uniform(0, 1, (12, 12)), grey)
    third = around * np.float32(rng.uniform(0.3, 1)) if rng.random() < 0.3 else np.zeros_like(grey)
    # Nuclei are mostly blue: DAPI and Hoechst.
    order = (2, 1, 0) if rng.random() < 0.6 else rng.permutation(3)
    return np.dstack([(grey, around, third)[channel] for channel in order])


def inverted(image: Float32, rng: Generator, strength: float) -> Float32:  # noqa: ARG001
    """Turn bright into dark, where there is no colour."""
    return image if _is_coloured(image) else np.float32(255) - image


def outshone(
    image: Float32, labels: Int32, rng: Generator, strength: float
) -> tuple[Float32, Int32]:
    """Let an object or two be up to eight times as bright as all others."""
    ids = np.unique(labels[::2, ::2])
    ids = ids[ids > 0]
    if not len(ids):
        return image, labels
    chosen = np.isin(labels, rng.choice(ids, size=min(len(ids), int(rng.integers(1, 3)))))
    gain = cv2.GaussianBlur(chosen.astype(np.float32), (0, 0), 1.0) * (1 + 6 * strength) + 1
    ground = np.float32(np.percentile(image[::4, ::4], 20))
    image = (image - ground) * _broadcast(np.asarray(gain, np.float32), image) + ground
    return _dimmed_to_fit(image), labels


def marks(image: Float32, labels: Int32, rng: Generator, strength: float) -> tuple[Float32, Int32]:
    """Draw on the picture (`training.data.marks`), mostly in white."""
    image, _ = _at_full_scale(image)
    mask: UInt8 = np.zeros(image.shape[:2], np.uint8)
    MARKS[int(rng.integers(len(MARKS)))](mask, rng, strength)
    image = image * np.float32(rng.uniform(0.2, 1)) if rng.random() < 0.5 else image
    ink = np.float32(255 if rng.random() < 0.8 else 0)
    image = image + (ink - image) * _broadcast(np.asarray(mask / 255, np.float32), image)
    return image, np.where((mask > 127) & (labels > 0), np.int32(IGNORE), labels)


def corners(
    image: Float32, labels: Int32, rng: Generator, strength: float
) -> tuple[Float32, Int32]:
    """Turn the picture within its frame: corners without image, black or white."""
    height, width = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    beyond = np.abs(np.cos(angle) * x + np.sin(angle) * y) > 0.65 - 0.3 * strength
    if rng.random() < 0.5:
        beyond |= np.abs(np.cos(angle) * y - np.sin(angle) * x) > 0.65 - 0.3 * strength
    image = image.copy()
    image[beyond] = 0 if rng.random() < 0.7 else 255
    return image, np.where(beyond & (labels > 0), np.int32(0), labels)


def _range(image: Float32) -> tuple[float, float]:
    low, high = np.percentile(image[::4, ::4], (1, 99.8))
    return float(low), float(max(high, low + 1))


def _at_full_scale(image: Float32) -> tuple[Float32, float]:
    """Spread a dim image; give its range of grey levels, too."""
    low, high = _range(image)
    if high - low >= _FULL_SCALE:
        return image, high - low
    return (image - np.float32(low)) * np.float32(128 / (high - low)) + np.float32(16), 128.0


def _dimmed_to_fit(image: Float32) -> Float32:
    return image * np.float32(255 / max(float(image.max()), 255.0))


def _smooth(coarse: npt.NDArray[np.float64], image: Float32) -> Float32:
    size = (image.shape[1], image.shape[0])
    field = cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(field, np.float32)


def _grey(image: Float32) -> Float32:
    return image if image.ndim == 2 else np.asarray(image.mean(axis=2), np.float32)


def _is_coloured(image: Float32) -> bool:
    return image.ndim == 3 and not np.array_equal(image[..., 0], image[..., 2])


def _broadcast(plane: Float32, image: Float32) -> Float32:
    return plane if image.ndim == 2 else plane[..., None]


def _labels_stay(of_image: OfImage) -> Degradation:
    def degradation(
        image: Float32, labels: Int32, rng: Generator, strength: float
    ) -> tuple[Float32, Int32]:
        return of_image(image, rng, strength), labels

    return degradation


DEGRADATIONS: Final[Mapping[str, Degradation]] = MappingProxyType(
    {
        "noise": _labels_stay(noise),
        "stripes": _labels_stay(stripes),
        "hot pixels": _labels_stay(hot_pixels),
        "shade": _labels_stay(shade),
        "vignette": _labels_stay(vignette),
        "exposure": _labels_stay(exposure),
        "blur": _labels_stay(blur),
        "few levels": _labels_stay(few_levels),
        "jpeg": _labels_stay(jpeg),
        "outshone": outshone,
        "marks": marks,
        "corners": corners,
        "dyes": _labels_stay(dyes),
        "inverted": _labels_stay(inverted),
    }
)
"""Every way, by name."""
