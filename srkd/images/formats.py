"""What the file formats can hold."""

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
    """

    alpha: bool
    deep: bool
    longest: int
    lossy: bool
    options: dict[str, Any]


JPEG = Format(False, False, 65_500, True, {"subsampling": "4:4:4"})
TIFF = Format(True, True, 2**31 - 1, False, {"compression": "tiff_lzw"})
# Level 4 takes half the time of Pillow's 6 for files a twentieth larger.
FORMATS = {
    ".png": Format(True, True, 2**31 - 1, False, {"compress_level": 4}),
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".jfif": JPEG,
    ".jpe": JPEG,
    ".webp": Format(True, False, 16_383, True, {}),
    ".tif": TIFF,
    ".tiff": TIFF,
    ".bmp": Format(False, False, 32_767, False, {}),
}
if features.check("avif"):
    FORMATS[".avif"] = Format(True, False, 65_536, True, {})

SUFFIXES = tuple(FORMATS)

# Photographs of a hundred megapixels exist, and so do files of a few kilobytes that unpack to gigabytes.
MEGAPIXELS = 200.0


def check_suffix(path: Path) -> None:
    """Raises UsageError unless the path's suffix names an image format."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")
