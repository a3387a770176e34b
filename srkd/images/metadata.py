"""What a photograph's file says about it, made fit for the enlarged one."""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from srkd.images import exif
from srkd.images.photo import About

# PNG's chunks that are carried as they are. Not sBIT: what a network makes has no fewer bits than its type.
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
_XMP_KEY = "XML:com.adobe.xmp"
# Texts in which some programs keep what has a place of its own.
_PROFILE_TEXTS = (
    "Raw profile type exif",
    "Raw profile type APP1",
    "Raw profile type icc",
    "Raw profile type icm",
)
# More text than a person writes; a few kilobytes may unpack to gigabytes.
_LONGEST_TEXT = 2**24
# What XMP says about the old file's bytes: its orientation, and pictures and films stored behind it.
_FILM = rb'\w+:(?:MotionPhoto|MicroVideo)\s*(?:=\s*["\']|>)\s*1'
_STALE_XMP = (
    (rb'(tiff:Orientation\s*(?:=\s*["\']|>)\s*)[2-8]', rb"\g<1>1"),
    (rb'(\w+:(?:MotionPhoto|MicroVideo)\s*(?:=\s*["\']|>)\s*)1', rb"\g<1>0"),
    (rb'\s+xmpNote:HasExtendedXMP\s*=\s*(["\']).*?\1', rb""),
)


def describe(path: Path, kind: str, info: Mapping[Any, Any], found: Image.Exif) -> About:
    """What a file says about its photograph.

    Args:
        path: the file.
        kind: Pillow's name of its format.
        info: what Pillow found in it.
        found: the EXIF that Pillow found, where `info` has no block.
    """
    faults = []
    directory = None
    try:
        directory = _find_directory(path, kind, info, found)
    except Exception:  # of a damaged block, which is no reason to refuse the photograph
        faults.append("damaged EXIF")
    tags = directory.tags if directory else {}
    xmp, iptc = info.get("xmp") or _find_boxes(path, kind), _find_iptc(info, tags)
    if xmp is None and exif.XMP in tags:
        xmp = tags[exif.XMP].data
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    block = None
    if directory is not None and (kept := exif.clean(tags)):
        block = exif.pack_block(replace(directory, tags=kept))
    # Where a TIFF gives no resolution, Pillow gives 1.
    faults += _find_losses(path, kind, xmp)
    dpi = info.get("dpi") if kind != "TIFF" or 282 in tags else None
    about = About(
        icc=info.get("icc_profile") or None,
        chunks=_to_chunk(_find_avif(path)[0] if kind == "AVIF" else info.get("nclx_profile")),
        exif=block,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        xmp=_clean_xmp(xmp),
        iptc=iptc,
        texts=_find_comment(info) if kind != "PNG" else (),
        lossless=kind == "WEBP" and _is_lossless_webp(path),
        faults=tuple(faults),
    )
    return _describe_png(path, about) if kind == "PNG" else about


def _find_directory(path: Path, kind: str, info: Mapping[Any, Any], found: Image.Exif) -> Any:
    if kind == "TIFF":
        with path.open("rb") as file:
            return exif.read_directory(file)
    block = info.get("exif") or (found.tobytes() if found else None)
    return exif.read_block(block) if block else None


def _find_losses(path: Path, kind: str, xmp: bytes | None) -> list[str]:
    """What a file holds and nothing here reads."""
    found = []
    if kind == "MPO":
        found.append("what phones hide behind a JPEG's picture (depth, HDR gains)")
    if re.search(_FILM, xmp or b""):
        found.append("a motion photo's film")
    if b"HasExtendedXMP" in (xmp or b""):
        found.append("the extension of XMP")
    if kind == "AVIF" and _find_avif(path)[1]:
        found.append("AVIF's depth beyond 8 bits")
    return found


def _find_avif(path: Path) -> tuple[dict[str, int] | None, bool]:
    """The colours that an AVIF states by numbers (its box `colr`), and whether it has more than 8 bits
    (`av1C`), neither of which Pillow tells. Both are in its head."""
    with path.open("rb") as file:
        head = file.read(2**16)
    place, depth = head.find(b"colrnclx") + 8, head.find(b"av1C") + 6
    deep = depth > 6 and len(head) > depth and bool(head[depth] & 64)
    if place == 7 or len(head) < place + 7:
        return None, deep
    primaries, transfer = struct.unpack_from(">HH", head, place)
    return {"color_primaries": primaries, "transfer_characteristics": transfer}, deep


def _find_iptc(info: Mapping[Any, Any], tags: Mapping[int, exif.Tag]) -> bytes | None:
    """The IPTC record of a JPEG (in Photoshop's resource 0x0404) or TIFF."""
    resources = info.get("photoshop")
    if isinstance(resources, dict) and isinstance(resources.get(0x0404), bytes):
        return resources[0x0404]
    return tags[exif.IPTC].data if exif.IPTC in tags else None


def _clean_xmp(packet: bytes | None) -> bytes | None:
    packet = (packet or b"").strip(b"\0")
    for pattern, text in _STALE_XMP:
        packet = re.sub(pattern, text, packet)
    return packet or None


def _find_boxes(path: Path, kind: str) -> bytes | None:
    """The XMP packet of a JPEG XL, which its reader for Pillow passes over: the box `xml ` (ISO 18181-2)."""
    if kind != "JXL":
        return None
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            if name == b"xml " and 8 <= size <= _LONGEST_TEXT:
                return file.read(size - 8)
            if size < 8:
                break
            file.seek(size - 8, 1)
    return None


def _to_chunk(nclx: Any) -> tuple[tuple[bytes, bytes], ...]:
    """The colours that a HEIC states by numbers (ITU-T H.273), as PNG states them; sRGB needs no
    statement."""
    if not isinstance(nclx, dict):
        return ()
    primaries, transfer = nclx["color_primaries"], nclx["transfer_characteristics"]
    plain = primaries in (1, 2) and transfer in (1, 2, 6, 13)
    return () if plain else ((b"cICP", bytes([primaries, transfer, 0, 1])),)


def _find_comment(info: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    comment = info.get("comment")
    text = _decode(comment) if isinstance(comment, bytes) else comment or ""
    return (("Comment", text.strip("\0")),) if text.strip("\0 \n") else ()


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _is_lossless_webp(path: Path) -> bool:
    """Whether a WebP file's image is coded without loss: its chunk is `VP8L` (RFC 9649, section 2)."""
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8L", b"VP8 "):
                return head[:4] == b"VP8L"
            size = struct.unpack("<I", head[4:])[0]
            file.seek(size + size % 2, 1)
    return False


def _describe_png(path: Path, about: About) -> About:
    """Adds what Pillow does not tell of PNG files, or only after decoding all of it."""
    chunks, texts, faults = [], [], list(about.faults)
    for kind, data in _read_chunks(path):
        if kind in _COLOUR_CHUNKS or (kind == b"pHYs" and data[8:] == b"\0"):
            chunks.append((kind, data))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            try:
                key, text = _read_text(kind, data)
            except (ValueError, zlib.error):
                faults.append("a damaged text")
                continue
            if key == _XMP_KEY:
                about = replace(about, xmp=_clean_xmp(text.encode()))
            elif not key.startswith(_PROFILE_TEXTS):
                texts.append((key, text))
    return replace(about, chunks=tuple(chunks), texts=tuple(texts), faults=tuple(faults))


def _read_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG file but for its pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind in (*_COLOUR_CHUNKS, b"pHYs", b"tEXt", b"zTXt", b"iTXt") and size <= _LONGEST_TEXT:
                yield kind, file.read(size)
                file.seek(4, 1)
            else:
                file.seek(size + 4, 1)


def _read_text(kind: bytes, data: bytes) -> tuple[str, str]:
    """Key and text of a chunk (PNG specification, section 11.3.3)."""
    key, _, rest = data.partition(b"\0")
    if kind == b"tEXt":
        return key.decode("latin-1"), rest.decode("latin-1")
    if kind == b"zTXt":
        return key.decode("latin-1"), _inflate(rest[1:]).decode("latin-1")
    packed, rest = rest[:1] == b"\1", rest[2:]
    _language, _, rest = rest.partition(b"\0")
    _translated, _, rest = rest.partition(b"\0")
    return key.decode("latin-1"), _decode(_inflate(rest) if packed else rest)


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    text = stream.decompress(data, _LONGEST_TEXT)
    if not stream.eof:
        raise ValueError("the text is cut short or too long")
    return text


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
