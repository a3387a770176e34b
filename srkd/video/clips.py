"""Clips to frames, by FFmpeg: upright, as RGB by their own matrix and range, with their own times."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import SrkdError, first_line
from srkd.images.formats import MEGAPIXELS
from srkd.images.photo import Photo
from srkd.images.reading import split_channels
from srkd.video.formats import import_av
from srkd.video.source import Colour, Faults, Frame, Source

# Codes of ITU-T H.273.
RGB, BT709, UNKNOWN, BT601 = 0, 1, 2, 6
LIMITED, FULL = 1, 2
# Those whose matrices FFmpeg's scaler knows.
_MATRICES = (1, 4, 5, 6, 7, 9)
# Players take what says nothing for BT.601 up to this size, and for BT.709 beyond it (as mpv does).
_SD = (1279, 576)
_NO_CLIPS = ("image2", "tty", "gif", "apng", "webp", "webp_anim", "ico", "txd")
_UNDECODED = "frame{s} could not be decoded and the one before stays on the screen"
_PATCHED = "damaged frame{s} as patched up by the decoder"
_UNREAD = "gap{s} where the file could not be read"
_UNTIMED = "frame{s} without a time of their own, put behind the one before"
# Reads that fail in a row, after which nothing more is expected of a file.
_PATIENCE = 100


@dataclass(frozen=True)
class Turn:
    """How pixels are made upright: rows and columns exchanged, then columns and rows reversed."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        values = values.swapaxes(0, 1) if self.transposed else values
        values = values[:, ::-1] if self.mirrored else values
        return np.ascontiguousarray(values[::-1] if self.flipped else values)


# By degrees, counter-clockwise, as PyAV has them.
_TURNS = {90: Turn(True, False, True), 180: Turn(False, True, True), 270: Turn(True, True, False)}


@contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """PyAV's container of a file, closed afterwards.

    Raises:
        UsageError: PyAV is not installed.
        SrkdError: the file is not a clip, or cannot be read.
    """
    av: Any = import_av()
    try:
        # What is named may be a file alone, not a protocol or a playlist of other places.
        container = av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise SrkdError(f"{path} cannot be read: permission denied") from error
        raise SrkdError(
            f"{path} is not a video that can be read, or is cut short ({_reason(error)})"
        ) from error
    with container:
        # FFmpeg takes pictures and texts for clips of one frame.
        if container.format.name.endswith("_pipe") or container.format.name in _NO_CLIPS:
            raise SrkdError(f"{path} is not a video that can be read")
        yield container


def find_stream(container: Any) -> Any | None:
    """The video stream of a container; None where it has none but a cover picture."""
    found = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
    best = container.streams.best("video")
    return best if best in found else next(iter(found), None)


def is_clip(path: Path) -> bool:
    """Whether a file of any name holds video; False without PyAV."""
    try:
        with open_container(path) as container:
            return find_stream(container) is not None
    except SrkdError:
        return False


def open_clip(path: Path, megapixels: float = MEGAPIXELS) -> Source:
    """Opens a clip, and decodes its first frame to know what its frames are.

    Args:
        path: the file.
        megapixels: clips of larger frames are rejected.

    Raises:
        UsageError: PyAV is not installed.
        SrkdError: it is no clip, holds no video, or none of its frames can be decoded.
    """
    with open_container(path) as container:
        stream = find_stream(container)
        if stream is None:
            raise SrkdError(f"{path} holds no video")
        if stream.codec_context is None:
            raise SrkdError(f"{path} holds video of a kind that FFmpeg does not decode")
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > megapixels * 1e6:
            raise SrkdError(
                f"{path} declares {width}x{height} pixels, more than {megapixels:g} megapixels; raise "
                "--megapixels to read it all the same"
            )
        first = next(_decode(container, stream, Faults()), None)
        if first is None:
            raise SrkdError(f"{path} is damaged: none of its frames can be decoded")
        turn, lost = _find_turn(first)
        lost += _find_losses(container, stream, first)
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        size = (first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        components = first.format.components
        alpha = any(one.is_alpha for one in components)
        bits = 8 if first.format.name == "pal8" else max(one.bits for one in components)
        wanted = ("rgba64le" if alpha else "rgb48le") if bits > 8 else ("rgba" if alpha else "rgb24")
        colour = _find_colour(first)
        reader = _Reader(path, size, wanted, colour, turn, Fraction(1) / rate)
        return Source(
            path=path,
            size=size[::-1] if turn.transposed else size,
            count=_count(container, stream, rate),
            unit=stream.time_base,
            read=reader.read,
            rate=rate,
            kind=container.format.name,
            declared=stream.frames,
            bits=bits,
            alpha=alpha,
            aspect=1 / aspect if turn.transposed else aspect,
            colour=colour,
            plays=1,
            lost=tuple(lost),
        )


@dataclass(frozen=True)
class _Reader:
    """Reads a clip's frames.

    Args:
        path: the file.
        size: width and height as they are stored; frames of others are resampled to it.
        wanted: FFmpeg's name of the format of pixels that they are converted to.
        colour: what their numbers mean.
        turn: what makes them upright.
        usual: seconds of a frame that does not say.
    """

    path: Path
    size: tuple[int, int]
    wanted: str
    colour: Colour
    turn: Turn
    usual: Fraction

    def read(self, first: int, faults: Faults) -> Iterator[Frame]:
        """The frames from that number on. All are decoded, since only that gives a frame the same number
        and pixels each time."""
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        with open_container(self.path) as container:
            stream = find_stream(container)
            assert stream is not None
            usual = max(1, round(self.usual / stream.time_base))
            before, length = None, usual
            for number, frame in enumerate(_decode(container, stream, faults)):
                start = frame.pts
                if start is None or (before is not None and start <= before):
                    start = 0 if before is None else before + length
                    faults.add(_UNTIMED, float(start * stream.time_base))
                before, length = start, frame.duration or usual
                if frame.is_corrupt:
                    faults.add(_PATCHED, float(start * stream.time_base))
                if number >= first:
                    yield Frame(self._convert(frame, reformatter), start, length)

    def _convert(self, frame: Any, reformatter: Any) -> Photo:
        if self.colour.matrix != RGB:
            frame.colorspace = self.colour.matrix
            # Gray and RGB that say nothing are full, which FFmpeg knows.
            if frame.format.name[:4] != "gray" or frame.color_range:
                frame.color_range = self.colour.range
        width, height = self.size
        found = reformatter.reformat(
            frame, width, height, self.wanted, interpolation=exact_flags()
        ).to_ndarray()
        pixels, alpha, _ = split_channels(self.turn.apply(found))
        if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
            alpha = None
        return Photo(pixels, alpha)


def exact_flags() -> int:
    """FFmpeg's scaler without its shortcuts, by which it is off by several levels."""
    from av.video.reformatter import Interpolation as flag

    return flag.BICUBIC | flag.FULL_CHR_H_INT | flag.FULL_CHR_H_INP | flag.ACCURATE_RND | flag.BITEXACT


def _decode(container: Any, stream: Any, faults: Faults) -> Iterator[Any]:
    """A stream's frames; what cannot be read or decoded is passed over."""
    av: Any = import_av()
    packets, time, failed = container.demux(stream), 0.0, 0
    while failed < _PATIENCE:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            # What comes behind may be sound; a reader that failed must be asked for anew.
            faults.add(_UNREAD, time)
            packets, failed = container.demux(stream), failed + 1
            continue
        if packet.pts is not None:
            time = float(packet.pts * packet.time_base)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            faults.add(_UNDECODED, time)
            continue
        failed = 0
        yield from frames


def _find_colour(frame: Any) -> Colour:
    """What a clip's numbers mean. Where it says nothing, what players take it for, so that the larger frame,
    for which they would take something else, can say so."""
    matrix, limits = int(frame.colorspace), int(frame.color_range)
    rgb = frame.format.is_rgb or frame.format.name == "pal8"
    if rgb:
        matrix = RGB
    elif matrix not in _MATRICES:
        matrix = BT601 if frame.width <= _SD[0] and frame.height <= _SD[1] else BT709
    full = limits == FULL or (limits == 0 and frame.format.name.startswith("yuvj"))
    return Colour(
        matrix, FULL if full and not rgb else LIMITED, int(frame.color_primaries), int(frame.color_trc)
    )


def _find_turn(frame: Any) -> tuple[Turn, list[str]]:
    """What makes a frame upright, by its display matrix; and a sentence where that is no quarter turn."""
    data = _side_data(frame, "DISPLAYMATRIX")
    if data is None:
        return _TURNS.get(frame.rotation % 360, Turn()), []
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    if b == c == 0 and a and d:
        return Turn(False, a < 0, d < 0), []
    if a == d == 0 and b and c:
        return Turn(True, c < 0, b < 0), []
    return Turn(), ["a rotation other than by quarter turns is not applied"]


def _side_data(frame: Any, kind: str) -> Any:
    """What is beside a frame's pixels; None where there is no such thing, or PyAV does not know what else is
    there."""
    try:
        return frame.side_data.get(kind)
    except ValueError:
        return None


def _find_losses(container: Any, stream: Any, frame: Any) -> list[str]:
    """What is not carried over of a clip's pictures."""
    lost = []
    if frame.interlaced_frame:
        lost.append(
            "interlaced lines are enlarged as they stand, which shows combs; deinterlace first, as by ffmpeg "
            "-i IN -vf bwdif OUT"
        )
    if stream.metadata.get("alpha_mode") == "1" and not any(x.is_alpha for x in frame.format.components):
        lost.append("transparency that VP8 and VP9 keep beside the picture is not carried over")
    kinds = {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "DYNAMIC_HDR_PLUS", "DOVI_METADATA"}
    if any(_side_data(frame, kind) is not None for kind in kinds):
        lost.append("HDR's mastering data are not carried over")
    if _side_data(frame, "A53_CC") is not None:
        lost.append("closed captions inside the picture are not carried over")
    others = len(container.streams.video) - 1
    if others:
        lost.append(f"{others} more video stream{'s' * (others != 1)} (or covers) not carried over")
    return lost


def _count(container: Any, stream: Any, rate: Fraction) -> int:
    """How many frames there are: as the file says, or about as many by its duration."""
    if stream.frames:
        return stream.frames
    # Matroska's, which is in a text.
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match:
        hours, minutes, seconds = map(Fraction, match.groups())
        return max(1, round((hours * 3600 + minutes * 60 + seconds) * rate))
    if stream.duration:
        return max(1, round(stream.duration * stream.time_base * rate))
    if container.duration:
        return max(1, round(Fraction(container.duration, 1_000_000) * rate))
    return 1


def _reason(error: Any) -> str:
    """What FFmpeg says went wrong, without its number and the file's name."""
    return str(getattr(error, "strerror", None) or first_line(error)).lower()
