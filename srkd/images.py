"""Image files to arrays and back, with what they carry: colour profile, EXIF, resolution."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, features

from srkd.errors import SrkdError, UsageError
from srkd.files import replacing


class Format(NamedTuple):
    """What a file format can hold: transparency, 16 bits, the longest side in pixels; whether it loses, as
    its quality says; and how it is written."""

    alpha: bool
    deep: bool
    longest: int
    lossy: bool
    options: dict[str, Any]


_JPEG = Format(False, False, 65_500, True, {"subsampling": "4:4:4"})
_TIFF = Format(True, True, 2**31 - 1, False, {"compression": "tiff_lzw"})
# Level 4 takes half the time of Pillow's 6 for files a twentieth larger.
FORMATS = {
    ".png": Format(True, True, 2**31 - 1, False, {"compress_level": 4}),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format(True, False, 16_383, True, {}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": Format(False, False, 32_767, False, {}),
}
if features.check("avif"):
    FORMATS[".avif"] = Format(True, False, 65_536, True, {})
SUFFIXES = tuple(FORMATS)
# Photographs of a hundred megapixels exist; files of a few kilobytes that unfold to gigabytes, too.
MEGAPIXELS = 200.0

# Tags of the first directory that describe the file's own layout and not the photograph: all but names,
# dates, camera and rights. The orientation is applied to the pixels.
_LAYOUT_TAGS = {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 301, 317}
_LAYOUT_TAGS |= {318, 319, 320, 322, 323, 324, 325, 330, 338, 339, 347, 513, 514, 529, 530, 531, 532}
_LAYOUT_TAGS |= {700, 33723, 34377, 34675}


@dataclass(frozen=True)
class Photo:
    """A photograph, upright, and what its file says of it.

    Args:
        pixels: `(H, W, 3)` RGB, uint8 or uint16, not multiplied by alpha.
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


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """The image files in a folder, by name; with `recursive`, those of its subfolders too.

    Raises:
        UsageError: the folder does not exist, is a file, or holds no image.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UsageError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the folder that holds the images")
    paths = folder.rglob("*") if recursive else folder.iterdir()
    found = sorted(p for p in paths if p.suffix.lower() in SUFFIXES and not is_hidden(p, folder))
    if not found:
        raise UsageError(f"{folder} holds no images ({', '.join(SUFFIXES)})")
    return found


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether the file, or a folder between it and `folder`, has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_image(path: str | Path) -> np.ndarray:
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


def read_photo(path: str | Path, megapixels: float = MEGAPIXELS) -> Photo:
    """Reads a photograph in its own depth and colours, EXIF orientation applied.

    CMYK becomes sRGB by its profile. An image of several frames is refused, but for the second picture that
    phones hide in a JPEG.

    Args:
        path: the file.
        megapixels: the largest that is decoded.

    Raises:
        UsageError: there is no such file.
        SrkdError: the file is not an image that can be read, is damaged, animated, or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    with _opening(path) as file:
        width, height = file.size
        if width * height > megapixels * 1e6:
            raise SrkdError(
                f"{path} has {width}x{height} pixels, more than {megapixels:g} megapixels; "
                "raise --megapixels if it is what it claims to be"
            )
        if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
            raise SrkdError(
                f"{path} holds {file.n_frames} frames; animated and multi-page files are not taken, "  # type: ignore[attr-defined]
                "extract the frames first"
            )
        # Before anything loads the pixels, which forgets how they were stored.
        deep = _is_deep(file)
        exif = file.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        # Takes the orientation out, too, which Pillow would apply to TIFFs while it loads them.
        described = _describe(exif)
        icc = file.info.get("icc_profile")
        dpi = file.info.get("dpi")
        if deep:
            values = _decode_deep(path, file.format or "")
        else:
            if file.mode == "CMYK":
                image, icc = _to_srgb(file, icc), None
            elif file.has_transparency_data:
                image = file.convert("LA" if file.mode == "LA" else "RGBA")
            else:
                image = file.convert("L" if file.mode in ("1", "L") else "RGB")
            values = np.array(image)
        pixels, alpha = _split(_upright(values, orientation))
        gray = pixels.ndim == 2
        if icc is not None and icc[16:20] != (b"GRAY" if gray else b"RGB "):
            icc = None
        return Photo(
            pixels=np.repeat(pixels[..., None], 3, axis=2) if gray else np.ascontiguousarray(pixels),
            alpha=None if alpha is None else np.ascontiguousarray(alpha),
            gray=gray,
            icc=icc,
            exif=described,
            dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        )


def measure(path: Path) -> int:
    """An image's number of pixels by its header; 0 where it cannot be read."""
    try:
        with _opening(path) as file:
            return file.size[0] * file.size[1]
    except SrkdError:
        return 0


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
            (_write_deep_png if suffix == ".png" else _write_deep_tiff)(temporary, picture, like)
            return
        kind = FORMATS[suffix]
        carried = {"icc_profile": like.icc, "exif": like.exif, "dpi": like.dpi}
        carried["quality"] = quality if kind.lossy else None
        if kind is _TIFF and like.exif is not None:
            carried["exif"] = _first_directory(like.exif)
        options = {key: value for key, value in carried.items() if value is not None}
        try:
            picture.save(temporary, **kind.options, **options)
        except (ValueError, struct.error) as error:
            raise SrkdError(f"cannot write {path}: {error}; choose another format") from error


def check_suffix(path: Path) -> None:
    """Raises UsageError unless the path's suffix names an image format."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")


@contextmanager
def _opening(path: Path) -> Iterator[Any]:
    """A Pillow image; whatever goes wrong while it is read becomes one line."""
    limit = Image.MAX_IMAGE_PIXELS
    # Pillow's own limit is a warning, then an error; `read_photo` has one of its own.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            # Of damaged metadata, which do not make an image unusable.
            warnings.simplefilter("ignore")
            with Image.open(path) as file:
                yield file
    except UnidentifiedImageError as error:
        raise SrkdError(f"{path} is not an image that can be read (is it really {path.suffix}?)") from error
    except MemoryError as error:
        raise SrkdError(f"{path} does not fit into memory") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise SrkdError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _is_deep(file: Any) -> bool:
    """Whether the file has more than 8 bits a channel, which Pillow keeps for gray images only."""
    if file.mode == "F":
        raise SrkdError(
            f"{file.filename} holds floating-point values, whose white is unknown; save it as 16 bit"
        )
    if file.mode.startswith("I"):
        return True
    deep = file.format in ("PNG", "TIFF") and file.tile and ";16" in str(file.tile[0].args)
    # A transparent colour of an image without alpha channel is known to Pillow alone.
    return deep and "transparency" not in file.info


def _decode_deep(path: Path, kind: str) -> np.ndarray:
    """The values of a deep PNG or TIFF as uint16, `(H, W)` or `(H, W, C)`."""
    import imagecodecs
    import tifffile

    try:
        if kind == "TIFF":
            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                values = np.moveaxis(page.asarray(), 0, -1) if page.axes == "SYX" else page.asarray()
                if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
                    values = np.iinfo(values.dtype).max - values
        elif kind == "PNG":
            values = imagecodecs.png_decode(path.read_bytes())
        else:
            with Image.open(path) as file:
                values = np.asarray(file)
    except (imagecodecs.PngError, tifffile.TiffFileError, RuntimeError) as error:
        raise SrkdError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if values.dtype == np.uint8:
        return values
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise SrkdError(f"{path} holds 32-bit values, whose white is unknown; save it as 16 bit")
    return values.astype(np.uint16)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
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


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an array as EXIF's orientation 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour, `(H, W)` or `(H, W, 3)`, and alpha."""
    if values.ndim == 2:
        return values, None
    channels = values.shape[2]
    if channels not in (1, 2, 3, 4):
        raise SrkdError(f"an image of {channels} channels is not a photograph")
    alpha = values[..., -1] if channels in (2, 4) else None
    return (values[..., 0] if channels < 3 else values[..., :3]), alpha


def _describe(exif: Image.Exif) -> bytes | None:
    """An EXIF block without what describes the old file's layout."""
    if not exif:
        return None
    try:
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        details = exif.get_ifd(ExifTags.IFD.Exif)
        for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
            details.pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except Exception:  # of a damaged block, which is no reason to refuse the photograph
        return None


def _first_directory(block: bytes) -> Image.Exif:
    """Names, dates, camera and rights: all that Pillow and tifffile write into compressed TIFFs."""
    exif = Image.Exif()
    exif.load(block)
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        if tag in exif:
            del exif[tag]
    return exif


def _write_deep_png(path: Path, values: np.ndarray, like: Photo) -> None:
    import imagecodecs

    data = imagecodecs.png_encode(np.ascontiguousarray(values))
    chunks = b""
    if like.icc is not None:
        chunks += _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(like.icc))
    if like.dpi is not None:
        metre = [round(value / 0.0254) for value in like.dpi]
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *metre, 1))
    if like.exif is not None:
        chunks += _chunk(b"eXIf", like.exif.removeprefix(b"Exif\0\0"))
    # They belong between the header, which ends at byte 33, and the pixels.
    with path.open("wb") as file:
        file.write(data[:33])
        file.write(chunks)
        file.write(memoryview(data)[33:])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_deep_tiff(path: Path, values: np.ndarray, like: Photo) -> None:
    import tifffile

    alpha = values.ndim == 3 and values.shape[2] in (2, 4)
    names = {} if like.exif is None else dict(_first_directory(like.exif))
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
