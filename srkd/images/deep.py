"""PNG and TIFF files of more than 8 bits a channel, which Pillow keeps for gray images only, and TIFF files
of any size."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from srkd.errors import SrkdError
from srkd.images import formats
from srkd.images.exif import Tag, pack, read_directory
from srkd.images.metadata import png_chunk
from srkd.images.photo import About


def decode_deep(file: Image.Image, path: Path, page: int = 0) -> np.ndarray:
    """The values of a deep PNG, TIFF or HEIC, or of a JPEG XL of any depth, `(H, W)` or `(H, W, C)`, uint16
    or uint8.

    Args:
        file: what Pillow makes of it.
        path: where it is.
        page: which of a TIFF's.

    Raises:
        SrkdError: the file is damaged, is animated, or holds values of 32 bits or floating-point ones.
    """
    import imagecodecs
    import tifffile

    try:
        if file.format == "TIFF":
            with tifffile.TiffFile(path) as tiff:
                found = tiff.pages[page].aspage()
                values = np.moveaxis(found.asarray(), 0, -1) if found.axes == "SYX" else found.asarray()
                if found.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                    values = np.iinfo(values.dtype).max - values
        elif file.format == "PNG":
            values = imagecodecs.png_decode(path.read_bytes())
        elif file.format == "JXL":
            values = imagecodecs.jpegxl_decode(path.read_bytes())
        elif file.format == "HEIF":
            import pillow_heif

            values = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
        else:
            values = np.asarray(file)
    except (imagecodecs.PngError, tifffile.TiffFileError, RuntimeError) as error:
        raise SrkdError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if values.dtype.kind == "f":
        raise SrkdError(f"{path} holds floating-point values, whose white is unknown; save it as 16 bit")
    if values.ndim > 3:
        raise SrkdError(f"{path} is animated, which is not supported; extract the frames first")
    return narrow(values, str(path))


def find_pictures(path: Path) -> list[int]:
    """The pages of a TIFF that are neither a smaller version of another nor a mask: by NewSubfileType (bits 0
    and 2), or SubfileType, which it replaced (2)."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        tags = [tiff.pages[page].aspage().tags for page in range(len(tiff.pages))]
    return [n for n, t in enumerate(tags) if not t.valueof(254, 0) & 5 and t.valueof(255, 1) != 2]


def narrow(values: np.ndarray, name: str) -> np.ndarray:
    """Values as uint16; uint8 as they are.

    Raises:
        SrkdError: they do not fit into 16 bits; `name` is the image's, for the message.
    """
    if values.dtype == np.uint8:
        return values
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise SrkdError(f"{name} holds 32-bit values, whose white is unknown; save it as 16 bit")
    return values.astype(np.uint16)


def write_deep_png(
    path: Path, values: np.ndarray, about: About, chunks: Sequence[tuple[bytes, bytes]]
) -> None:
    """Writes 16 bits, `(H, W)` or `(H, W, C)`; `chunks` are those of texts and colours."""
    import imagecodecs

    data = imagecodecs.png_encode(np.ascontiguousarray(values))
    found = [] if about.icc is None else [(b"iCCP", b"ICC\0\0" + zlib.compress(about.icc))]
    if about.dpi is not None:
        metre = [round(value / 0.0254) for value in about.dpi]
        found.append((b"pHYs", struct.pack(">IIB", *metre, 1)))
    if about.exif is not None:
        found.append((b"eXIf", about.exif.removeprefix(b"Exif\0\0")))
    with path.open("wb") as file:
        insert_chunks(file, data, [*found, *chunks])


def insert_chunks(file: BinaryIO, png: bytes | bytearray, chunks: Sequence[tuple[bytes, bytes]]) -> None:
    """Writes a PNG file with more chunks between its header, which ends at byte 33, and its pixels."""
    file.write(png[:33])
    for kind, data in chunks:
        file.write(png_chunk(kind, data))
    file.write(memoryview(png)[33:])


def write_tiff(path: Path, picture: Image.Image | np.ndarray, about: About, tags: dict[int, Tag]) -> None:
    """Writes 8 bits, a Pillow image, or 16 bits, `(H, W)` or `(H, W, C)`, compressed without loss (LZW): as
    BigTIFF where the file could grow beyond what offsets of 32 bits reach.

    Args:
        path: the file.
        picture: the pixels; they are read a strip at a time.
        about: whose profile and resolution go with it.
        tags: what else goes into its directory, little-endian.
    """
    import tifffile

    channels = len(picture.mode) if isinstance(picture, Image.Image) else (*picture.shape, 1)[2]
    height, width = picture.size[::-1] if isinstance(picture, Image.Image) else picture.shape[:2]
    depth = 1 if isinstance(picture, Image.Image) else 2
    row = width * channels * depth
    strip = max(1, 2**18 // row)
    # LZW takes up to 12 bits for a byte that it meets for the first time.
    big = height * row * 1.5 + 2**20 > formats.CLASSIC_TIFF
    tifffile.imwrite(
        path,
        _encode_strips(picture, strip),
        shape=(height, width, channels) if channels > 1 else (height, width),
        dtype=np.uint8 if depth == 1 else np.uint16,
        bigtiff=big,
        byteorder="<",
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        rowsperstrip=strip,
        compression="lzw",
        predictor=True,
        iccprofile=about.icc,
        resolution=about.dpi,
        resolutionunit="inch" if about.dpi else None,
        metadata=None,
        software=False,
    )
    if tags:
        _add_tags(path, tags, big)


def _encode_strips(picture: Image.Image | np.ndarray, strip: int) -> Iterator[bytes]:
    import imagecodecs

    image = isinstance(picture, Image.Image)
    height = picture.height if image else picture.shape[0]
    for top in range(0, height, strip):
        bottom = min(top + strip, height)
        rows = np.asarray(picture.crop((0, top, picture.width, bottom)) if image else picture[top:bottom])
        deltas = np.asarray(imagecodecs.delta_encode(np.ascontiguousarray(rows), axis=1))
        yield bytes(imagecodecs.lzw_encode(deltas.tobytes()))


def _add_tags(path: Path, tags: dict[int, Tag], big: bool) -> None:
    """Adds tags to a file's first directory, which neither Pillow nor tifffile do where tags are themselves
    directories: the directory is written anew at the end."""
    with path.open("r+b") as file:
        merged = read_directory(file).tags | tags
        place = file.seek(0, 2)
        place += file.write(b"\0" * (place % 2))
        file.write(pack(merged, place, "<", big))
        file.seek(8 if big else 4)
        file.write(struct.pack("<Q" if big else "<I", place))
