"""Formats that Pillow reads with the help of packages of their own: HEIC and JPEG XL."""

import importlib
import struct
from typing import BinaryIO, NamedTuple

from srkd.errors import SrkdError


class _Extra(NamedTuple):
    """A format's name, the package that reads it, and the extra of srkd that brings that."""

    name: str
    module: str
    extra: str


_HEIC = _Extra("HEIC", "pillow_heif", "heif")
_JXL = _Extra("JPEG XL", "pillow_jxl", "jxl")
# Brands of HEIF whose pictures are HEVC's; AVIF, a HEIF too, is Pillow's own.
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_STARTS = {b"\xff\x0a": _JXL, b"\0\0\0\x0cJXL \r\n\x87\n": _JXL}


def register_reader(start: bytes, path: object) -> None:
    """Teaches Pillow the format of a file that begins with these bytes, if it is one of an extra.

    Args:
        start: the file's first 32 bytes.
        path: the file, for the message.

    Raises:
        SrkdError: the extra is not installed.
    """
    found = next((extra for begin, extra in _STARTS.items() if start.startswith(begin)), None)
    # Generic brands are AVIF's as well, which names itself among those that follow.
    if start[4:8] == b"ftyp" and start[8:12] in _BRANDS and b"avif" not in start[16:]:
        found = _HEIC
    if found is None:
        return
    try:
        _register(found.module)
    except ImportError as error:
        raise SrkdError(
            f"{path} is {found.name}, which srkd[{found.extra}] reads: pip install 'srkd[{found.extra}]'"
        ) from error


def _register(module: str) -> None:
    # pillow_jxl registers itself when it is imported.
    package = importlib.import_module(module)
    if hasattr(package, "register_heif_opener"):
        package.register_heif_opener(thumbnails=False)


# Width over height of JPEG XL's images whose header gives a ratio in place of the width.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def measure_jxl(stream: BinaryIO) -> tuple[int, int] | None:
    """Width and height that the header of a JPEG XL declares (ISO 18181-1, SizeHeader), None for other files.
    Its reader decodes all of a file before it tells."""
    stream.seek(0)
    start = stream.read(12)
    if start[:2] != b"\xff\x0a":
        if start not in _STARTS or not _seek_codestream(stream):
            return None
        start = stream.read(12)
    bits = int.from_bytes(start[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    small = take(1)

    def take_side() -> int:
        return (1 + take(5)) * 8 if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = take_side()
    ratio = take(3)
    if ratio == 0:
        return take_side(), height
    over, under = _RATIOS[ratio - 1]
    return height * over // under, height


def _seek_codestream(stream: BinaryIO) -> bool:
    """Goes to where the image begins in a file of boxes (ISO 18181-2)."""
    while len(head := stream.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        behind = 8
        if size == 1:
            size, behind = struct.unpack(">Q", stream.read(8).rjust(8, b"\0"))[0], 16
        if name in (b"jxlc", b"jxlp"):
            # A part begins with its number.
            stream.seek(4 if name == b"jxlp" else 0, 1)
            return True
        if size < behind:
            return False
        stream.seek(size - behind, 1)
    return False
