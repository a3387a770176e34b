"""EXIF blocks and the directories of TIFF files, as they stand: tags with their types and bytes, which
reading and writing by value would change (names that are not ASCII, makers' notes)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

# Directories that are named by their place in the file: Exif, GPS, interoperability.
POINTERS = (34665, 34853, 40965)
DESCRIPTION, XMP, IPTC, MAKER_NOTE = 270, 700, 33723, 37500
# Tags that describe the file's own layout and not the photograph: all but names, dates, camera and rights.
# Resolution, orientation and profile have places of their own.
_LAYOUT = {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 301, 317, 318}
_LAYOUT |= {319, 320, 322, 323, 324, 325, 330, 338, 339, 347, 513, 514, 529, 530, 531, 532, 34377, 34675}
_LAYOUT |= {XMP, IPTC}
# In pixels of the old size: width, height, and where in them the subject is.
_LAYOUT |= {40962, 40963, 37396, 41492}
# Bytes of a value of each type, and of the numbers in it (a rational has two).
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_WORDS = {**_SIZES, 5: 4, 10: 4}
# More than any camera or editor writes.
_LARGEST = 2**26
_START = b"Exif\0\0"


@dataclass
class Tag:
    """A tag: its type, the number of its values, and their bytes in the order of the directory that it is in;
    or the directory that it points to."""

    kind: int
    count: int
    data: bytes
    inside: dict[int, Tag] = field(default_factory=dict)


@dataclass
class Directory:
    """The first directory of a file or block, by tag number, and its byte order, `<` or `>`."""

    tags: dict[int, Tag]
    order: str = "<"


def read_directory(stream: BinaryIO) -> Directory:
    """The first directory of a TIFF file or EXIF block, with those that it points to.

    Raises:
        ValueError, struct.error: it is damaged.
    """
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise ValueError("no byte order")
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    return Directory(_read(stream, first, order, big, POINTERS), order)


def _read(stream: BinaryIO, place: int, order: str, big: bool, pointers: tuple[int, ...]) -> dict[int, Tag]:
    stream.seek(place)
    entry, inline = (order + "HHQ8s", 8) if big else (order + "HHI4s", 4)
    (number,) = struct.unpack(order + ("Q" if big else "H"), _take(stream, 8 if big else 2))
    # A damaged number cannot ask for more than a directory of any program holds.
    entries = _take(stream, struct.calcsize(entry) * min(number, 4096))
    tags = {}
    for code, kind, count, value in struct.iter_unpack(entry, entries):
        size = _SIZES.get(kind, 0) * count
        if size == 0 or size > _LARGEST:
            continue
        if size > inline:
            stream.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
            value = _take(stream, size)
        tags[code] = Tag(kind, count, value[:size])
        if code in pointers:
            (inner,) = struct.unpack_from(order + ("Q" if size == 8 else "I"), value)
            # Each once, which ends loops.
            rest = tuple(pointer for pointer in pointers if pointer != code)
            tags[code].inside = _read(stream, inner, order, big, rest)
    return tags


def _take(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("it ends too early")
    return data


def clean(tags: dict[int, Tag]) -> dict[int, Tag]:
    """The tags without what describes the old file's layout, in all directories."""
    kept = {}
    for code, tag in sorted(tags.items()):
        inside = clean(tag.inside)
        if code not in _LAYOUT and (inside or code not in POINTERS):
            kept[code] = Tag(tag.kind, tag.count, tag.data, inside)
    return kept


def read_block(block: bytes) -> Directory:
    """The directory of an EXIF block. Raises as `read_directory` does."""
    return read_directory(io.BytesIO(block.removeprefix(_START)))


def pack_block(directory: Directory) -> bytes:
    """An EXIF block, beginning with `Exif`."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[directory.order] + struct.pack(directory.order + "I", 8)
    return _START + head + pack(directory.tags, 8, directory.order)


def pack(tags: dict[int, Tag], place: int, order: str = "<", big: bool = False) -> bytes:
    """A directory and those inside it as the bytes that stand at a place of a file, of BigTIFF if `big`."""
    pointer, inline = (order + "Q", 8) if big else (order + "I", 4)
    entries = struct.pack(order + ("Q" if big else "H"), len(tags))
    values = b""
    # The entries, and where the next directory would be.
    after = place + len(entries) + len(tags) * (20 if big else 12) + inline
    for code, tag in sorted(tags.items()):
        kind, count, data = tag.kind, tag.count, tag.data
        here = after + len(values)
        if tag.inside:
            kind, count, data = 16 if big else 4, 1, struct.pack(pointer, here)
            values += pack(tag.inside, here, order, big)
        elif len(data) > inline:
            values += data + b"\0" * (len(data) % 2)
            data = struct.pack(pointer, here)
        entries += struct.pack(order + ("HHQ" if big else "HHI"), code, kind, count) + data.ljust(
            inline, b"\0"
        )
    return entries + b"\0" * inline + values


def to_little_endian(directory: Directory) -> dict[int, Tag]:
    """The tags with their numbers in the order of little-endian files."""
    return directory.tags if directory.order == "<" else _swap(directory.tags)


def _swap(tags: dict[int, Tag]) -> dict[int, Tag]:
    return {
        code: Tag(
            tag.kind,
            tag.count,
            np.frombuffer(tag.data, f">u{_WORDS[tag.kind]}").astype(f"<u{_WORDS[tag.kind]}").tobytes(),
            _swap(tag.inside),
        )
        for code, tag in tags.items()
    }


def ascii_tag(text: str) -> Tag:
    """A text as a tag, in UTF-8, which programs read where the standard says ASCII."""
    data = text.encode() + b"\0"
    return Tag(2, len(data), data)
