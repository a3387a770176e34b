"""Arrays to image files."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from srkd.errors import SrkdError
from srkd.files import replacing
from srkd.images import exif
from srkd.images.colours import to_profile
from srkd.images.deep import insert_chunks, write_deep_png, write_tiff
from srkd.images.formats import FORMATS, JPEG, PNG, TIFF, WEBP, Format, check_suffix
from srkd.images.photo import About

# What a JPEG's segment holds beside its name.
_SEGMENT = 65_500
# The chunks that Pillow puts where they belong; others it would drop.
_PLACED = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tEXt", b"zTXt", b"iTXt")
_XMP_KEY = "XML:com.adobe.xmp"
_NAMES = {
    "icc": "a colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "texts": "texts",
    "dpi": "the resolution",
}


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes `(H, W, 3)` uint8 RGB in the format of the file's suffix.

    Raises:
        UsageError: the suffix names no image format.
        SrkdError: the file cannot be written.
    """
    write_photo(path, Image.fromarray(image))


def write_photo(
    path: str | Path,
    picture: Image.Image | np.ndarray,
    about: About | None = None,
    quality: int | None = None,
) -> tuple[str, ...]:
    """Writes a picture in the format of the file's suffix, whole or not at all.

    Args:
        path: a name ending in one of SUFFIXES.
        picture: 8 bits as a Pillow image (L, LA, RGB, RGBA), 16 bits as a uint16 array `(H, W)` or
            `(H, W, C)` of 2, 3 or 4 channels, for formats that hold as many.
        about: what goes with it.
        quality: 1 to 100, of formats that lose. When not given it is 95, and WebP loses nothing where the
            photograph's file lost nothing.

    Returns:
        What was left out, and why, a sentence each.

    Raises:
        UsageError: the suffix names no image format.
        SrkdError: the file cannot be written.
    """
    path = Path(path)
    check_suffix(path)
    kind = FORMATS[path.suffix.lower()]
    shape = picture.shape if isinstance(picture, np.ndarray) else picture.getbands()
    gray = len(shape) == 2 if isinstance(picture, np.ndarray) else len(shape) < 3
    about = about or About()
    lost = tuple(f"{fault} is not carried over" for fault in about.faults)
    about, missing = _fit(kind, about, gray or shape[2:] == (2,))
    if missing:
        lost += (f"{path.suffix} has no place for {', '.join(missing)}",)
    with replacing(path) as temporary:
        try:
            if kind is TIFF:
                write_tiff(temporary, picture, about, _to_tags(about))
            elif isinstance(picture, np.ndarray):
                write_deep_png(temporary, picture, about, _to_chunks(about))
            else:
                _save(temporary, picture, kind, about, quality)
        except (ValueError, struct.error) as error:
            raise SrkdError(f"cannot write {path}: {error}; choose another format") from error
    return lost


def _save(path: Path, picture: Image.Image, kind: Format, about: About, quality: int | None) -> None:
    """Writes 8 bits by Pillow, as anything but TIFF."""
    options: dict[str, Any] = {"icc_profile": about.icc, "exif": about.exif, "dpi": about.dpi}
    if kind.lossy:
        options["quality"] = quality or 95
    if kind is WEBP and about.lossless and quality is None:
        # Quality is then effort.
        options |= {"lossless": True, "quality": 50, "exact": True}
    chunks = []
    if kind is PNG:
        chunks = _to_chunks(about)
        options["pnginfo"] = PngInfo()
        for name, data in chunks:
            options["pnginfo"].add(name, data)
    elif "xmp" in kind.holds:
        options["xmp"] = about.xmp
    if kind is JPEG:
        options["comment"] = _join(about.texts).encode() or None
        options["extra"] = _to_segment(about.iptc)
    picture.save(path, **kind.options, **{key: value for key, value in options.items() if value is not None})
    if others := [chunk for chunk in chunks if chunk[0] not in _PLACED]:
        data = path.read_bytes()
        with path.open("wb") as file:
            insert_chunks(file, data, others)


def _fit(kind: Format, about: About, gray: bool) -> tuple[About, tuple[str, ...]]:
    """What a format holds of a photograph's description, and the rest in words."""
    missing: list[str] = []
    if kind is WEBP:
        # It keeps gray as RGB.
        gray = False
        if about.icc and about.icc[16:20] == b"GRAY":
            missing.append("a profile of gray")
            about = replace(about, icc=None)
    if about.chunks and "chunks" not in kind.holds:
        profile, whole = (about.icc, True) if about.icc else to_profile(about.chunks, gray)
        missing += [] if whole else ["HDR colours (cICP)"]
        if any(name == b"pHYs" for name, _ in about.chunks):
            missing.append("the shape of pixels (pHYs)")
        about = replace(about, icc=profile, chunks=())
    if about.texts and "texts" not in kind.holds and "exif" in kind.holds:
        about = _describe_in_exif(about)
    for name, words in _NAMES.items():
        if getattr(about, name) and name not in kind.holds:
            missing.append(words)
            about = replace(about, **{name: () if name == "texts" else None})
    if kind is JPEG:
        limited = {"exif": about.exif, "xmp": about.xmp, "iptc": about.iptc}
        if about.exif and len(about.exif) > _SEGMENT:
            about = replace(about, exif=_without_maker_note(about.exif))
            missing.append("a maker's note of more than 64 KB")
            limited["exif"] = about.exif
        for name, data in limited.items():
            if data and len(data) > _SEGMENT:
                missing.append(f"{_NAMES[name]} of more than 64 KB")
                about = replace(about, **{name: None})
        if len(_join(about.texts).encode()) > _SEGMENT:
            missing.append("texts of more than 64 KB")
            about = replace(about, texts=())
    return about, tuple(missing)


def _describe_in_exif(about: About) -> About:
    """Puts texts into EXIF's description, for formats without a place of their own, unless it has one."""
    directory = exif.read_block(about.exif) if about.exif else exif.Directory({})
    if exif.DESCRIPTION in directory.tags:
        return about
    directory.tags[exif.DESCRIPTION] = exif.ascii_tag(_join(about.texts))
    return replace(about, exif=exif.pack_block(directory), texts=())


def _without_maker_note(block: bytes) -> bytes:
    directory = exif.read_block(block)
    for tag in directory.tags.values():
        tag.inside.pop(exif.MAKER_NOTE, None)
    return exif.pack_block(directory)


def _join(texts: tuple[tuple[str, str], ...]) -> str:
    """Texts as one, a line each, where the format has one place for all."""
    return "\n".join(text if key == "Comment" else f"{key}: {text}" for key, text in texts)


def _to_tags(about: About) -> dict[int, exif.Tag]:
    tags = exif.to_little_endian(exif.read_block(about.exif)) if about.exif else {}
    if about.xmp:
        tags[exif.XMP] = exif.Tag(1, len(about.xmp), about.xmp)
    if about.iptc:
        tags[exif.IPTC] = exif.Tag(7, len(about.iptc), about.iptc)
    return tags


def _to_chunks(about: About) -> list[tuple[bytes, bytes]]:
    """A PNG's chunks of colours and texts. A profile and sRGB exclude one another."""
    info = PngInfo()
    for key, text in about.texts:
        info.add_text(key, text, zip=len(text) > 1000)
    if about.xmp:
        info.add_itxt(_XMP_KEY, about.xmp.decode(errors="replace"))
    chunks = [chunk for chunk in about.chunks if chunk[0] != b"sRGB" or about.icc is None]
    return [*chunks, *((chunk[0], chunk[1]) for chunk in info.chunks)]


def _to_segment(iptc: bytes | None) -> bytes | None:
    """An IPTC record as the segment of a JPEG that Photoshop defined (APP13, resource 0x0404)."""
    if not iptc:
        return None
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    data = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + struct.pack(">H", len(data) + 2) + data
