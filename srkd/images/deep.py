"""PNG and TIFF files of more than 8 bits a channel, which Pillow keeps for gray images only."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from srkd.errors import SrkdError
from srkd.images.metadata import first_directory, png_chunk
from srkd.images.photo import Photo


def decode_deep(file: Image.Image, path: Path) -> np.ndarray:
    """The values of a deep PNG or TIFF as uint16, `(H, W)` or `(H, W, C)`.

    Args:
        file: what Pillow makes of it.
        path: where it is.

    Raises:
        SrkdError: the file is damaged, or holds values of 32 bits.
    """
    import imagecodecs
    import tifffile

    try:
        if file.format == "TIFF":
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages.first
                values = np.moveaxis(page.asarray(), 0, -1) if page.axes == "SYX" else page.asarray()
                if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                    values = np.iinfo(values.dtype).max - values
        elif file.format == "PNG":
            values = imagecodecs.png_decode(path.read_bytes())
        else:
            values = np.asarray(file)
    except (imagecodecs.PngError, tifffile.TiffFileError, RuntimeError) as error:
        raise SrkdError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    return narrow(values, str(path))


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


def write_deep_png(path: Path, values: np.ndarray, like: Photo) -> None:
    import imagecodecs

    data = imagecodecs.png_encode(np.ascontiguousarray(values))
    chunks = b""
    if like.icc is not None:
        chunks += png_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(like.icc))
    if like.dpi is not None:
        metre = [round(value / 0.0254) for value in like.dpi]
        chunks += png_chunk(b"pHYs", struct.pack(">IIB", *metre, 1))
    if like.exif is not None:
        chunks += png_chunk(b"eXIf", like.exif.removeprefix(b"Exif\0\0"))
    # They belong between the header, which ends at byte 33, and the pixels.
    with path.open("wb") as file:
        file.write(data[:33])
        file.write(chunks)
        file.write(memoryview(data)[33:])


def write_deep_tiff(path: Path, values: np.ndarray, like: Photo) -> None:
    import tifffile

    alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    names = {} if like.exif is None else dict(first_directory(like.exif))
    tifffile.imwrite(
        path,
        values,
        photometric="rgb" if values.ndim == 3 and values.shape[2] > 2 else "minisblack",
        planarconfig="contig" if values.ndim == 3 else None,
        extrasamples=["unassalpha"] if alpha else None,
        compression="lzw",
        predictor=True,
        iccprofile=like.icc,
        resolution=like.dpi,
        resolutionunit="inch" if like.dpi else None,
        metadata=None,
        software=False,
        extratags=[(tag, "s", 0, name, True) for tag, name in names.items() if isinstance(name, str)],
    )
