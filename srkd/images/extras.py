"""Formats that Pillow reads with the help of packages of their own: HEIC and JPEG XL."""

import importlib
from typing import NamedTuple

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
