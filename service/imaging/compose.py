"""From what a library decoded to the one kind of picture that networks get."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import UInt8
from service.domain import FIRST_PAGE, DecodedImage, Plane
from service.errors import BadParameter, BrokenImage
from service.imaging.depth import scale_to_8_bits
from service.imaging.header import Header
from service.imaging.upright import flatten, orient


def compose(raw: npt.NDArray[Any], header: Header, plane: Plane = FIRST_PAGE) -> DecodedImage:
    """Scale, flatten and turn what a library decoded.

    Parameters
    ----------
    raw : (H, W), (H, W, 3) or (H, W, 4) array
        In RGB order and the type of the file; a fourth channel may be alpha.
    header : Header
        What the file says about itself.
    plane : Plane
        Which channel is taken.

    Returns
    -------
    DecodedImage
        As `service.imaging.decode.decode_image` promises.

    Raises
    ------
    BrokenImage
        If the pixels are not of the size that the header claims.
    BadParameter
        If there is no such channel.
    """
    # Both libraries carry out the orientation of a TIFF file themselves.
    turn = 1 if header.format == "tiff" else header.orientation
    stored = (header.height, header.width)
    if header.format == "tiff" and header.orientation >= 5:
        stored = stored[::-1]
    if raw.shape[:2] != stored:
        raise BrokenImage("the pixels do not fill the size that the header claims")
    colour, alpha = _split_alpha(raw, header)
    if plane.channel is not None:
        colour = _one_channel(colour, plane.channel)
    scaled_range = None
    if raw.dtype != np.uint8:
        colour, scaled_range = scale_to_8_bits(colour)
        if header.inverted:
            colour, scaled_range = 255 - colour, scaled_range[::-1]
    if colour.ndim == 2:
        colour = cv2.cvtColor(colour, cv2.COLOR_GRAY2RGB)
    if alpha is not None:
        colour = flatten(np.ascontiguousarray(colour), alpha)
    return DecodedImage(
        pixels=np.ascontiguousarray(orient(colour, turn)),
        format=header.format,
        orientation_applied=header.orientation != 1,
        source_bits=header.bits,
        scaled_range=scaled_range,
        frames=header.frames,
        plane=Plane(header.page, plane.channel),
    )


def _one_channel(colour: npt.NDArray[Any], channel: int) -> npt.NDArray[Any]:
    """Return one channel; before values are scaled, so that a bright neighbour does not dim it."""
    count = colour.shape[2] if colour.ndim == 3 else 1
    if not 0 <= channel < count:
        raise BadParameter(
            f"channel is {channel}, but the channels of this image go from 0 to {count - 1}",
            parameter="channel",
        )
    return colour if colour.ndim == 2 else np.ascontiguousarray(colour[..., channel])


def _split_alpha(raw: npt.NDArray[Any], header: Header) -> tuple[npt.NDArray[Any], UInt8 | None]:
    """Return the colours, and alpha where there is any."""
    if raw.shape[2:] == (4,):
        alpha = _alpha_to_8_bits(raw[..., 3]) if header.may_be_transparent else None
        return raw[..., :3], alpha
    if header.transparent_grey is not None:
        # OpenCV widens grey of fewer than 8 bits, and knows nothing of the transparent value.
        widened = 255 // (2**header.bits - 1) if header.bits < 8 else 1
        grey = raw if raw.ndim == 2 else raw[..., 0]
        opaque = grey != header.transparent_grey * widened
        return raw, np.where(opaque, 255, 0).astype(np.uint8)
    return raw, None


def _alpha_to_8_bits(alpha: npt.NDArray[Any]) -> UInt8:
    """Scale alpha by the range of its type; floating point alpha lies in 0..1."""
    if alpha.dtype == np.uint8:
        return alpha
    top = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    share = alpha.astype(np.float32) / np.float32(top)
    np.nan_to_num(share, copy=False, nan=1.0)
    alpha_8: UInt8 = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return alpha_8
