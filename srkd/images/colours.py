"""What the numbers of a file mean as colours: profiles, and PNG's chunks in their place."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_D65 = (0.3127, 0.329)
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# Primaries of cICP (ITU-T H.273, table 2) whose white is D65.
_PRIMARIES = {
    1: _SRGB,
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# Exponents of its transfer characteristics (table 3); sRGB's curve stands for those of television, which
# displays show alike.
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_LIKE_SRGB = (1, 6, 13, 14, 15)
# 1/2.2, which the PNG specification takes for sRGB.
_GAMMA_OF_SRGB = 45455


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK as sRGB, by its profile where it has one that is sound."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def to_profile(chunks: Sequence[tuple[bytes, bytes]], gray: bool) -> tuple[bytes | None, bool]:
    """The colours that PNG's chunks describe as an ICC profile, for formats without such chunks.

    The order in which they count is that of the PNG specification (third edition, section 4.3): cICP, sRGB,
    then gAMA and cHRM.

    Returns:
        The profile, None for sRGB; and whether it says all that the chunks do: no ICC profile that programs
        read holds the curves of HDR (PQ and HLG).
    """
    found = dict(chunks)
    if len(code := found.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = code
        known = primaries in _PRIMARIES and (transfer in _EXPONENTS or transfer in _LIKE_SRGB)
        if not known or matrix != 0 or full != 1:
            return None, False
        return _build(_PRIMARIES[primaries], _D65, _EXPONENTS.get(transfer), gray), True
    if b"sRGB" in found:
        return None, True
    exponent, primaries, white = None, _SRGB, _D65
    if len(data := found.get(b"gAMA", b"")) == 4:
        (value,) = struct.unpack(">I", data)
        exponent = None if value in (0, _GAMMA_OF_SRGB) else 100_000 / value
    if len(data := found.get(b"cHRM", b"")) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", data)]
        # Whatever has no height is no colour.
        if all(values[1::2]):
            white, primaries = (values[0], values[1]), tuple(values[2:])
    return _build(primaries, white, exponent, gray), True


def _build(
    primaries: Sequence[float], white: Sequence[float], exponent: float | None, gray: bool
) -> bytes | None:
    """A profile by Little CMS; the exponent is that of the curve, None for sRGB's."""
    like_srgb = gray or np.allclose([*primaries, *white], [*_SRGB, *_D65], atol=0.002)
    if exponent is None and like_srgb:
        return None
    import imagecodecs

    if exponent is None:
        x = np.linspace(0, 1, 1024)
        linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        options: dict[str, Any] = {"transferfunction": np.rint(linear * 65535).astype(np.uint16)}
    else:
        options = {"gamma": exponent}
    if not gray:
        options["primaries"] = list(primaries)
    try:
        return imagecodecs.cms_profile("gray" if gray else "rgb", whitepoint=(*white, 1.0), **options)
    except (RuntimeError, ValueError):  # of colours that no display has
        return None
