"""A photograph, and what its file says about it."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class About:
    """What a file says about its photograph.

    Args:
        icc: the colour profile that the pixels are in, None for sRGB or unknown.
        chunks: those of PNG that say what the numbers mean where no profile does, by kind: gAMA, cHRM, sRGB,
            cICP; mDCV and cLLI of HDR; pHYs where it is the shape of pixels alone.
        exif: the EXIF block, beginning with `Exif`, without orientation.
        dpi: pixels per inch, horizontal and vertical.
        xmp: the XMP packet.
        iptc: the IPTC-IIM record.
        texts: key and text of PNG's texts; a comment is one under `Comment`.
        lossless: whether a format that can be lossy holds it without loss.
        faults: what was damaged and is left out, in words.
    """

    icc: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    lossless: bool = False
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Photo:
    """A photograph, upright, and what its file says about it.

    Args:
        pixels: `(H, W, 3)` RGB, uint8, uint16, or float32 with 1 for white; not multiplied by alpha.
        alpha: `(H, W)` of the same type, or None for an opaque image.
        gray: whether the file holds one channel of colour; the three are then equal.
        about: what its file says about it.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    about: About = field(default_factory=About)
