"""A photograph, and what its file says about it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Photo:
    """A photograph, upright, and what its file says about it.

    Args:
        pixels: `(H, W, 3)` RGB, uint8, uint16, or float32 with 1 for white; not multiplied by alpha.
        alpha: `(H, W)` of the same type, or None for an opaque image.
        gray: whether the file holds one channel of colour; the three are then equal.
        icc: the colour profile that the pixels are in, None for sRGB or unknown.
        exif: the EXIF block without orientation.
        dpi: pixels per inch, horizontal and vertical.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
