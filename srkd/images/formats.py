"""What the file formats can hold."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from PIL import features

from srkd.errors import UsageError


class Format(NamedTuple):
    """What a file format can hold.

    Args:
        alpha: whether it holds transparency.
        deep: whether it holds 16 bits a channel.
        longest: its longest side in pixels.
        lossy: whether it has a quality.
        options: Pillow's, for writing it.
        holds: what it has a place for, of what a file says about its photograph: names of `About`'s fields.
        largest: the most bytes that its pixels may take, uncompressed.
    """

    alpha: bool
    deep: bool
    longest: int
    lossy: bool
    options: dict[str, Any]
    holds: frozenset[str] = frozenset()
    largest: float = math.inf


_WEB = frozenset({"icc", "exif", "xmp"})
JPEG = Format(False, False, 65_500, True, {"subsampling": "4:4:4"}, _WEB | {"iptc", "texts", "dpi"})
TIFF = Format(True, True, 2**31 - 1, False, {}, _WEB | {"iptc", "dpi"})
# Level 4 takes half the time of Pillow's 6 for files a twentieth larger. Longer sides libpng refuses, by
# which most programs read and 16 bits are written.
PNG = Format(True, True, 1_000_000, False, {"compress_level": 4}, _WEB | {"chunks", "texts", "dpi"})
WEBP = Format(True, False, 16_383, True, {}, _WEB)
FORMATS = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".jfif": JPEG,
    ".jpe": JPEG,
    ".webp": WEBP,
    ".tif": TIFF,
    ".tiff": TIFF,
    # Its header holds the file's size in 32 bits.
    ".bmp": Format(False, False, 32_767, False, {}, frozenset({"dpi"}), 2**32 - 2**10),
}
if features.check("avif"):
    FORMATS[".avif"] = Format(True, False, 65_536, True, {}, _WEB)

# Bytes that a TIFF file with offsets of 32 bits can have; larger ones are BigTIFF.
CLASSIC_TIFF = 2**32

SUFFIXES = tuple(FORMATS)
# What extras read, and nothing here writes.
READ_ONLY = (".heic", ".heif", ".hif", ".jxl")

# Photographs of a hundred megapixels exist, and so do files of a few kilobytes that unpack to gigabytes.
MEGAPIXELS = 200.0


def check_suffix(path: Path) -> None:
    """Raises UsageError unless the path's suffix names an image format."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")
