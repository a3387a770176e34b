"""Enlarged frames to an animated GIF, WebP or PNG, frame by frame: each is kept as a PNG until all are there,
and memory holds one."""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import GifImagePlugin, Image

from srkd.files import replacing
from srkd.images.metadata import png_chunk
from srkd.video.parts import Parts
from srkd.video.source import Source


class AnimationWriter:
    """Keeps frames as parts, from where the parts end. Of frames with one picture, it is kept once.

    Args:
        parts: where to.

    Attributes:
        done: how many frames are in parts.
    """

    def __init__(self, parts: Parts):
        self.parts, self.done = parts, sum(len(entry["durations"]) for entry in parts.found)
        self._last: Any = None
        self._durations: list[int] = []

    def add(self, picture: Image.Image | np.ndarray, start: int, duration: int) -> None:
        """Adds a frame.

        Args:
            picture: as `enlarge` gives it, 8 bits.
            start, duration: when and how long it is shown, in the source's unit.

        Raises:
            SrkdError: a part cannot be written.
        """
        del start  # what is shown without gaps needs none
        if picture is not self._last:
            self.keep()
            self._last = picture
        self._durations.append(duration)

    def keep(self) -> None:
        """Makes a part of the picture that is in none yet."""
        if not self._durations:
            return
        stream = io.BytesIO()
        self._last.save(stream, "PNG", compress_level=1)
        self.parts.add(stream.getvalue(), {"durations": self._durations})
        self.done += len(self._durations)
        self._last, self._durations = None, []


class _Piece(NamedTuple):
    """What a frame changes of the one before.

    Args:
        values: RGBA `(h, w, 4)`, the rectangle around what changes.
        changed: `(h, w)`, which of its pixels do.
        place: column and row of its corner.
        duration: milliseconds.
    """

    values: np.ndarray
    changed: np.ndarray
    place: tuple[int, int]
    duration: Fraction


def write_animation(source: Source, parts: Parts, quality: int | None) -> tuple[str, ...]:
    """Writes the animation, whole or not at all, in the format of the target's suffix.

    Args:
        source: what it was made from.
        parts: its frames.
        quality: of WebP, 1 to 100; 95 when not given, and none lost where the source lost nothing.

    Returns:
        What the format does not hold, a sentence each.

    Raises:
        SrkdError: it cannot be written.
    """
    gif = parts.target.suffix.lower() == ".gif"
    write = {".gif": _write_gif, ".webp": _write_webp}.get(parts.target.suffix.lower(), _write_apng)
    with replacing(parts.target) as temporary, temporary.open("wb") as file:
        write(file, source, parts, quality)
    lost = ["GIF has 256 colours a frame"] if gif and source.kind != "GIF" else []
    return (*lost, "GIF has no place for a colour profile") if gif and source.profile else tuple(lost)


def _read_pieces(source: Source, parts: Parts, step: int = 1, whole: bool = False) -> Iterator[_Piece]:
    """What each kept picture changes of the one before, in a rectangle that begins at a multiple of `step`;
    or all of it where the whole is asked for."""
    before: np.ndarray | None = None
    for number, entry in enumerate(parts.found):
        duration = sum(entry["durations"]) * source.unit * 1000
        with Image.open(io.BytesIO(parts.read(number))) as picture:
            values = np.array(picture.convert("RGBA"))
        # Colours that are not seen would count as changes.
        values[values[..., 3] == 0] = 0
        if whole or before is None:
            changed = np.ones(values.shape[:2], bool)
        else:
            changed = (values != before).any(axis=2)
        before = values
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            rows = columns = np.zeros(1, int)
        top, left = (int(ends[0]) // step * step for ends in (rows, columns))
        box = slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1)
        yield _Piece(values[box], changed[box], (left, top), duration)


def _to_picture(values: np.ndarray, alpha: bool) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(values if alpha else values[..., :3]))


# GIF


def _write_gif(file: BinaryIO, source: Source, parts: Parts, quality: int | None) -> None:
    """Each frame has its own palette. Where nothing is transparent, what a frame does not change is left
    standing, so that it does not flicker between palettes; else each is drawn on a cleared ground."""
    width, height = _size(parts)
    file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0))
    if source.plays != 1:
        repeats = min(max(source.plays - 1, 0), 65535)
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", repeats) + b"\0")
    time, told = Fraction(0), 0
    for piece in _read_pieces(source, parts, whole=source.alpha):
        # In hundredths of a second; rounding does not add up.
        time += piece.duration
        length = min(max(0, round(time / 10) - told), 65535)
        told += length
        seen = piece.values[..., 3] >= 128 if source.alpha else piece.changed
        options = {"disposal": 2 if source.alpha else 1, "duration": length * 10, "include_color_table": True}
        if not seen.all():
            options["transparency"] = 255
        for block in GifImagePlugin.getdata(_to_palette(piece.values, seen), piece.place, **options):
            file.write(block)
    file.write(b";")


def _to_palette(values: np.ndarray, seen: np.ndarray) -> Image.Image:
    """An RGBA array as 255 colours and, as the 256th, what is not to be seen. No dithering, whose noise would
    move from frame to frame."""
    rgb = Image.fromarray(np.ascontiguousarray(values[..., :3]))
    if not seen.all() and seen.any():
        # The colours of what is seen alone.
        visible = values[..., :3][seen]
        palette = Image.fromarray(visible[None]).quantize(255, Image.Quantize.MEDIANCUT)
        frame = rgb.quantize(palette=palette, dither=Image.Dither.NONE)
    else:
        frame = rgb.quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = np.array(frame.getpalette("RGB") or [0, 0, 0], np.uint8)
    indices = np.array(frame)
    indices[~seen] = 255
    frame = Image.fromarray(indices, "P")
    frame.putpalette(np.pad(colours[: 255 * 3], (0, 768 - min(len(colours), 255 * 3))).tobytes())
    return frame


# PNG


def _write_apng(file: BinaryIO, source: Source, parts: Parts, quality: int | None) -> None:
    """Chunks as the PNG specification has them (third edition, section 11.3.6)."""
    count, order = len(parts.found), 0
    for number, piece in enumerate(_read_pieces(source, parts)):
        picture = _to_picture(piece.values, source.alpha)
        chunks = _encode_png(picture)
        if number == 0:
            file.write(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", chunks[b"IHDR"]))
            if source.profile:
                stream = io.BytesIO()
                Image.new("RGB", (1, 1)).save(stream, "PNG", icc_profile=source.profile)
                file.write(png_chunk(b"iCCP", _split_png(stream.getvalue())[b"iCCP"]))
            file.write(png_chunk(b"acTL", struct.pack(">II", count, source.plays)))
        length = (piece.duration / 1000).limit_denominator(65535)
        if length.numerator > 65535:
            length = Fraction(min(round(length), 65535))
        # Left standing, and put in place of what is there.
        control = (*picture.size, *piece.place, length.numerator, length.denominator, 0, 0)
        file.write(png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", order, *control)))
        order += 1
        if number == 0:
            file.write(png_chunk(b"IDAT", chunks[b"IDAT"]))
        else:
            file.write(png_chunk(b"fdAT", struct.pack(">I", order) + chunks[b"IDAT"]))
            order += 1
    file.write(png_chunk(b"IEND", b""))


def _encode_png(picture: Image.Image) -> dict[bytes, bytes]:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=4)
    return _split_png(stream.getvalue())


def _split_png(data: bytes) -> dict[bytes, bytes]:
    """A PNG's chunks by their kind, those of one kind as one."""
    found: dict[bytes, bytes] = {}
    place = 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found[kind] = found.get(kind, b"") + data[place + 8 : place + 8 + length]
        place += length + 12
    return found


# WebP


def _write_webp(file: BinaryIO, source: Source, parts: Parts, quality: int | None) -> None:
    """Chunks as the WebP container specification has them (RFC 9649, section 2.7)."""
    lossless = source.lossless and quality is None
    options: dict[str, Any] = {"quality": quality or 95}
    if lossless:
        # Quality is then effort.
        options = {"lossless": True, "quality": 50, "exact": True}
    width, height = _size(parts)
    flags = 2 | (16 if source.alpha else 0) | (32 if source.profile else 0)
    file.write(b"RIFF\0\0\0\0WEBP")
    _write_chunk(file, b"VP8X", struct.pack("<I", flags) + _u24(width - 1) + _u24(height - 1))
    if source.profile:
        _write_chunk(file, b"ICCP", source.profile)
    _write_chunk(file, b"ANIM", struct.pack("<IH", 0, min(source.plays, 65535)))
    time, told = Fraction(0), 0
    for piece in _read_pieces(source, parts, step=2):
        time += piece.duration
        length = min(max(0, round(time) - told), 2**24 - 1)
        told += length
        stream = io.BytesIO()
        picture = _to_picture(piece.values, source.alpha)
        picture.save(stream, "WEBP", **options)
        head = b"".join(
            map(_u24, (*(side // 2 for side in piece.place), *(side - 1 for side in picture.size)))
        )
        # Put in place of what is there, and left standing.
        _write_chunk(file, b"ANMF", head + _u24(length) + b"\2" + _pixels_of_webp(stream.getvalue()))
    size = file.tell()
    file.seek(4)
    file.write(struct.pack("<I", size - 8))


def _u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))


def _pixels_of_webp(data: bytes) -> bytes:
    """The chunks of a still WebP that hold its pixels."""
    place, found = 12, b""
    while place < len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        stop = place + 8 + length + length % 2
        if kind in (b"ALPH", b"VP8 ", b"VP8L"):
            found += data[place:stop]
        place = stop
    return found


def _size(parts: Parts) -> tuple[int, int]:
    with Image.open(io.BytesIO(parts.read(0))) as picture:
        return picture.size
