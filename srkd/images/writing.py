"""Arrays to image files."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from srkd.errors import SrkdError
from srkd.files import replacing
from srkd.images.deep import write_deep_png, write_deep_tiff
from srkd.images.formats import FORMATS, TIFF, check_suffix
from srkd.images.metadata import first_directory
from srkd.images.photo import Photo


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes `(H, W, 3)` uint8 RGB in the format of the file's suffix.

    Raises:
        UsageError: the suffix names no image format.
        SrkdError: the file cannot be written.
    """
    write_photo(path, Image.fromarray(image))


def write_photo(
    path: str | Path, picture: Image.Image | np.ndarray, like: Photo | None = None, quality: int = 95
) -> None:
    """Writes a picture in the format of the file's suffix, whole or not at all.

    Args:
        path: a name ending in one of SUFFIXES.
        picture: 8 bits as a Pillow image (L, LA, RGB, RGBA), 16 bits as a uint16 array `(H, W)` or
            `(H, W, C)` of 2, 3 or 4 channels, for formats that hold as many.
        like: the photograph whose profile, EXIF and resolution go with it.
        quality: 1 to 100, of formats that lose.

    Raises:
        UsageError: the suffix names no image format.
        SrkdError: the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    suffix = path.suffix.lower()
    like = like or Photo(np.empty((0, 0, 3), np.uint8))
    with replacing(path) as temporary:
        if isinstance(picture, np.ndarray):
            (write_deep_png if suffix == ".png" else write_deep_tiff)(temporary, picture, like)
            return
        kind = FORMATS[suffix]
        carried = {"icc_profile": like.icc, "exif": like.exif, "dpi": like.dpi}
        carried["quality"] = quality if kind.lossy else None
        if kind is TIFF and like.exif is not None:
            carried["exif"] = first_directory(like.exif)
        options = {key: value for key, value in carried.items() if value is not None}
        try:
            picture.save(temporary, **kind.options, **options)
        except (ValueError, struct.error) as error:
            raise SrkdError(f"cannot write {path}: {error}; choose another format") from error
