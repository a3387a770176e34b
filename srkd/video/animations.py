"""Animated GIF, WebP, PNG and AVIF to frames, by Pillow, which draws them over one another as each format
says."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import SrkdError, first_line
from srkd.images.deep import narrow
from srkd.images.formats import MEGAPIXELS
from srkd.images.photo import Photo
from srkd.images.reading import decode, open_image, split_channels, to_bytes
from srkd.video.source import Faults, Frame, Source

# Pillow's names of the formats. TIFF's pages and JPEG's second pictures are no animations.
_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
# Units of time finer than a microsecond are of files that were damaged or made by hand.
_FINEST = 1_000_000
_DAMAGED = "damaged frame{s} left out, with those behind"


def count_frames(path: Path) -> int | None:
    """How many frames an animation has: 1 of a still GIF, 0 of other images, None of what Pillow does not
    read."""
    try:
        with open_image(path) as file:
            if file.format not in _FORMATS:
                return 0
            frames = getattr(file, "n_frames", 1)
            return frames if frames > 1 or file.format == "GIF" else 0
    except SrkdError:
        return None


def open_animation(path: Path, megapixels: float = MEGAPIXELS) -> Source:
    """Opens an animation, and goes through it to know its times.

    Args:
        path: the file.
        megapixels: animations of larger frames are rejected.

    Raises:
        SrkdError: it cannot be read.
    """
    with open_image(path, megapixels) as file:
        size, kind, plays = file.size, str(file.format), _count_plays(file)
        if size[0] * size[1] > megapixels * 1e6:
            raise SrkdError(
                f"{path} declares {size[0]}x{size[1]} pixels, more than {megapixels:g} megapixels; raise "
                "--megapixels to read it all the same"
            )
        profile = file.info.get("icc_profile") or None
        deep = file.mode.startswith("I")
        lost = ["16 bits become 8"] if deep else []
        lost += [
            f"{name.upper()} of an animation is not carried over"
            for name in ("exif", "xmp")
            if file.info.get(name)
        ]
        durations, alpha = [], False
        for frame in _walk(file):
            if frame is None:
                continue
            durations.append(_duration(frame))
            # Many files have room for transparency, and none.
            alpha = alpha or (frame.has_transparency_data and _to_photo(frame).alpha is not None)
        if not durations:
            raise SrkdError(f"{path} is damaged: none of its frames can be read")
    unit = Fraction(1, min(lcm(*(one.denominator for one in durations), 1000), _FINEST))
    total = sum(durations) or Fraction(len(durations), 10)
    return Source(
        path=path,
        size=size,
        count=len(durations),
        unit=unit,
        read=_Reader(path, [round(one / unit) for one in durations], unit).read,
        rate=Fraction(len(durations) / total).limit_denominator(1001),
        kind=kind,
        alpha=alpha,
        plays=plays,
        lossless=kind != "AVIF" and not _is_lossy_webp(path, kind),
        profile=profile,
        lost=tuple(lost),
    )


@dataclass(frozen=True)
class _Reader:
    """Reads an animation's frames, whose durations are known."""

    path: Path
    durations: list[int]
    unit: Fraction

    def read(self, first: int, faults: Faults) -> Iterator[Frame]:
        """The frames from that number on."""
        start, number = 0, 0
        with open_image(self.path) as file:
            for frame in _walk(file):
                if frame is None:
                    faults.add(_DAMAGED, float(start * self.unit))
                    return
                if number >= len(self.durations):
                    return
                length = self.durations[number]
                if number >= first:
                    yield Frame(_to_photo(frame), start, length)
                start, number = start + length, number + 1


def _walk(file: Any) -> Iterator[Any]:
    """The frames of an animation, drawn; None for one that is damaged, the last. An APNG's picture for
    programs that show no animations is none of them."""
    for number in range(1 if file.info.get("default_image") else 0, getattr(file, "n_frames", 1)):
        try:
            file.seek(number)
            file.load()
        except Exception:  # decoders raise anything
            yield None
            return
        yield file


def _to_photo(frame: Any) -> Photo:
    values = (
        to_bytes(narrow(np.asarray(frame), frame.filename)) if frame.mode.startswith("I") else decode(frame)
    )
    pixels, alpha, gray = split_channels(values)
    return Photo(pixels, None if alpha is None or alpha.min() == 255 else alpha, gray)


def _duration(frame: Any) -> Fraction:
    """A frame's, in seconds."""
    try:
        return Fraction(frame.info.get("duration") or 0).limit_denominator(_FINEST) / 1000
    except (TypeError, ValueError, OverflowError) as error:
        raise SrkdError(f"a frame's duration cannot be read: {first_line(error)}") from error


def _count_plays(file: Any) -> int:
    """How often an animation is played, 0 for ever. A GIF counts its repetitions, and is played once where it
    says nothing."""
    loop = file.info.get("loop")
    if file.format == "GIF":
        return 1 if loop is None else loop and loop + 1
    return loop or 0


def _is_lossy_webp(path: Path, kind: str) -> bool:
    """Whether a WebP has frames whose pixels lost something (chunks `VP8 `)."""
    if kind != "WEBP":
        return False
    return b"VP8 " in path.read_bytes()
