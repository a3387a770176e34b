"""Image files to arrays."""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, is_file
from srkd.images.colours import cmyk_to_srgb
from srkd.images.deep import decode_deep, find_pictures
from srkd.images.extras import measure_jxl, register_reader
from srkd.images.formats import MEGAPIXELS
from srkd.images.metadata import describe
from srkd.images.photo import Photo

# What they log of damaged files is in the error of the one that matters; an application that wants it has
# handlers of its own.
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


def read_image(path: StrPath) -> np.ndarray:
    """Reads a photograph as `(H, W, 3)` uint8 RGB, EXIF orientation applied.

    Gray, palette and CMYK images become RGB; 16 bits are rounded to 8; an alpha channel is dropped.

    Raises:
        UsageError: there is no such file.
        SrkdError: the file is not an image that can be read, is damaged, or is too large to be decoded
            safely.
    """
    return to_bytes(read_photo(path).pixels)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """uint16 rounded to uint8; uint8 as it is."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_photo(path: StrPath, megapixels: float = MEGAPIXELS) -> Photo:
    """Reads a photograph in its own depth and colours, EXIF orientation applied.

    CMYK becomes sRGB by its profile. Images of several frames are rejected, except for the second picture
    that phones hide in a JPEG.

    Args:
        path: the file.
        megapixels: images whose header declares more are rejected.

    Raises:
        UsageError: there is no such file.
        SrkdError: the file is not an image that can be read, is damaged, animated, or too large.
    """
    path = Path(path)
    if not is_file(path):
        raise UsageError(f"there is no file {path}")
    with open_image(path, megapixels) as file:
        page = _choose_page(file, path)
        _check_size(path, file.size, megapixels)
        # Before anything loads the pixels, which forgets how they were stored.
        deep = _is_deep(file)
        exif = _read_exif(file)
        about = describe(path, str(file.format), file.info, exif)
        # Taken out, since Pillow would apply it to TIFFs while it loads them.
        orientation = exif.pop(ExifTags.Base.Orientation, 1)
        if file.format in ("HEIF", "JXL"):
            # They have an orientation of their own, which their readers apply.
            orientation = 1
        if not deep:
            _skip_pillows_limit(file)
        values = decode_deep(file, path, page) if deep else decode(file)
        pixels, alpha, gray = split_channels(turn_upright(values, orientation))
        icc = about.icc
        if icc is not None and (file.mode == "CMYK" or icc[16:20] != (b"GRAY" if gray else b"RGB ")):
            about = replace(about, icc=None)
        return Photo(pixels, alpha, gray, about)


def _check_size(path: Path, size: tuple[int, int], megapixels: float) -> None:
    if size[0] * size[1] > megapixels * 1e6:
        raise SrkdError(
            f"{path} declares {size[0]}x{size[1]} pixels, more than {megapixels:g} megapixels; "
            "raise --megapixels to read it all the same"
        )


def _read_exif(file: Any) -> Image.Exif:
    """What Pillow reads of EXIF; nothing of a damaged block, which is no reason to refuse the photograph."""
    try:
        return file.getexif()
    except Exception:
        return Image.Exif()


def _choose_page(file: Any, path: Path) -> int:
    """Goes to the picture of a file of several, where only one is a picture and the rest are smaller versions
    or masks of it, and gives its number.

    Raises:
        SrkdError: there are several.
    """
    if file.format == "TIFF":
        # Pillow, which counts pages by opening each, knows not all that they may be.
        pages = find_pictures(path) if file.is_animated else [0]
        file.seek(pages[0] if pages else 0)
    else:
        # The second picture in a JPEG is one that phones hide there.
        pages = range(1 if file.format == "MPO" else getattr(file, "n_frames", 1))
    if len(pages) > 1:
        raise SrkdError(
            f"{path} holds {len(pages)} frames; animated and multi-page files are not supported, "
            "extract the frames first"
        )
    return pages[0] if pages else 0


def _is_deep(file: Any) -> bool:
    """Whether the file has more than 8 bits a channel, which Pillow keeps for gray images only."""
    if file.mode == "F":
        raise SrkdError(
            f"{file.filename} holds floating-point values, whose white is unknown; save it as 16 bit"
        )
    # JPEG XL's reader for Pillow does not say.
    if file.mode.startswith("I") or file.format == "JXL" or file.info.get("bit_depth", 8) > 8:
        return True
    deep = file.format in ("PNG", "TIFF") and file.tile and ";16" in str(file.tile[0].args)
    # Pillow alone knows the transparent colour of an image without alpha channel, and CMYK's profile.
    return deep and "transparency" not in file.info and file.mode != "CMYK"


def decode(image: Image.Image) -> np.ndarray:
    """The pixels of a Pillow image of 8 bits: `(H, W)` gray, or `(H, W, C)` of 2 (gray and alpha), 3 or 4."""
    if image.mode == "CMYK":
        image = cmyk_to_srgb(image, image.info.get("icc_profile"))
    elif image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
    else:
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    return np.array(image)


def _skip_pillows_limit(file: Any) -> None:
    """Gives a TIFF the memory for its pixels. Pillow, where it takes that memory itself, compares the size
    with its own limit, a global; `read_photo` has compared it with ours."""
    size = getattr(file, "_tile_size", None)
    if size is not None:
        file.im = Image.new(file.mode, size).im


def turn_upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an array as EXIF's orientation 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def split_channels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """An array `(H, W)` or `(H, W, 1 to 4)` as a `Photo` has it: RGB `(H, W, 3)`, alpha, and whether it is
    gray.

    Raises:
        SrkdError: it has more channels.
    """
    channels = values.shape[2] if values.ndim == 3 else 1
    if channels not in (1, 2, 3, 4):
        raise SrkdError(f"an image of {channels} channels is not a photograph")
    alpha = np.ascontiguousarray(values[..., -1]) if channels in (2, 4) else None
    if channels < 3:
        gray = values if values.ndim == 2 else values[..., 0]
        return np.repeat(gray[..., None], 3, axis=2), alpha, True
    return np.ascontiguousarray(values[..., :3]), alpha, False


def measure(path: Path) -> int:
    """An image's number of pixels by its header; 0 where it cannot be read."""
    try:
        with open_image(path) as file:
            return file.size[0] * file.size[1]
    except SrkdError:
        return 0


@contextmanager
def open_image(path: Path, megapixels: float = MEGAPIXELS) -> Iterator[Any]:
    """A Pillow image, closed afterwards; in formats that are decoded as they are opened, of no more
    megapixels than these.

    Changes nothing of the process, since several threads read at once: neither Pillow's limit on sizes (that
    of `read_photo` holds) nor the filters of warnings.

    Raises:
        SrkdError: whatever goes wrong while it is read, as one line.
    """
    try:
        with path.open("rb") as stream, _identify(stream, path, megapixels) as file:
            yield file
    except SrkdError:
        raise
    except Image.DecompressionBombError as error:
        raise SrkdError(
            f"{path} has more pixels than Pillow decodes in its format; convert it to PNG or TIFF"
        ) from error
    except UnidentifiedImageError as error:
        doubt = f" (is it really {path.suffix}?)" if path.suffix else ""
        raise SrkdError(f"{path} is not an image that can be read{doubt}") from error
    except MemoryError as error:
        raise SrkdError(f"{path} does not fit into memory") from error
    except PermissionError as error:
        raise SrkdError(f"{path} cannot be read: permission denied") from error
    except Exception as error:  # a damaged file makes decoders raise anything, TypeError included
        raise SrkdError(
            f"{path} is damaged: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def _identify(stream: BinaryIO, path: Path, megapixels: float) -> Any:
    """What Image.open does, without its check of sizes: the first format that accepts the first bytes."""
    start = stream.read(32)
    register_reader(start, path)
    if (size := measure_jxl(stream)) is not None:
        _check_size(path, size, megapixels)
    start = start[:16]
    # The common formats first, which is how Pillow keeps its own start short.
    for load_formats in (Image.preinit, Image.init):
        load_formats()
        # Another thread may be registering formats: it lists a name before what opens it.
        for build, accepts in [Image.OPEN[name] for name in list(Image.ID) if name in Image.OPEN]:
            try:
                # A text says what this Pillow lacks for the format.
                accepted = accepts is None or accepts(start)
                if not accepted or isinstance(accepted, str):
                    continue
                stream.seek(0)
                return build(stream, str(path))
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise UnidentifiedImageError(f"cannot identify {path}")
