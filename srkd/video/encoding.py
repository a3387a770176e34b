"""Enlarged frames to a clip: encoded in segments, which are parts until they are joined."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from srkd.errors import SrkdError, first_line
from srkd.video.clips import BT709, FULL, LIMITED, RGB, UNKNOWN, exact_flags
from srkd.video.formats import Codec, Container, choose_pixels, import_av
from srkd.video.parts import Parts
from srkd.video.source import Colour, Source

# Frames of a segment, which begins with a key frame: a kill loses no more, and players can seek to each.
SEGMENT = 48
# Encoders that write the shape of pixels into the pictures. PyAV cannot write it into Matroska's header.
_SHAPED = ("libx264", "libx265")
# FFmpeg's scaler takes these codes of matrices; BT.601 has two.
_SCALER = {6: 5}


class Coded(NamedTuple):
    """An encoded frame: when and how long it is shown in the clip's unit, and whether it is a key frame."""

    data: bytes
    start: int
    duration: int
    key: bool


@dataclass(frozen=True)
class Output:
    """How a clip is written.

    Args:
        container: its file's.
        codec: its pictures'.
        pixels: FFmpeg's name of the format of its pixels.
        bits: of a channel.
        size: width and height.
        colour: what its numbers mean.
        aspect: width of a pixel over its height.
        rate: frames a second on average.
        unit: of time, in seconds.
        squared: whether frames are stretched, so that their pixels become square.
    """

    container: Container
    codec: Codec
    pixels: str
    bits: int
    size: tuple[int, int]
    colour: Colour
    aspect: Fraction
    rate: Fraction
    unit: Fraction
    squared: bool = False

    @property
    def alpha(self) -> bool:
        """Whether its pixels have transparency."""
        return any(name == self.pixels for _, name in self.codec.alpha)

    def prepare(self, context: Any) -> None:
        """Sets an encoder, of FFmpeg, up."""
        context.width, context.height = self.size
        context.pix_fmt, context.time_base, context.framerate = self.pixels, self.unit, self.rate
        context.sample_aspect_ratio = self.aspect
        context.colorspace, context.color_range = self.colour.matrix, self.colour.range
        context.color_primaries, context.color_trc = self.colour.primaries, self.colour.transfer
        context.options = {
            **self.codec.options,
            **({} if self.codec.crf is None else {"crf": str(self.codec.crf)}),
        }
        if self.codec.encoder == "libx265":
            # By which Apple's players know it.
            context.codec_tag = "hvc1" if self.container.name in ("mp4", "mov") else context.codec_tag
        context.flags |= import_av().codec.context.Flags.global_header

    def describe(self) -> dict[str, Any]:
        """What its segments depend on."""
        return {
            "container": self.container.name,
            "encoder": self.codec.encoder,
            "crf": self.codec.crf,
            "pixels": self.pixels,
            "size": list(self.size),
            "versions": {name: list(version) for name, version in import_av().library_versions.items()},
        }


def plan_output(source: Source, container: Container, codec: Codec, size: tuple[int, int]) -> Output:
    """How a source's enlarged frames are written: in its depth where the encoder has it, with its colours,
    shape of pixels and times. Formats that keep colours at half the size have even sides.

    Args:
        source: what is enlarged.
        container, codec: what is written.
        size: width and height of the enlarged frames.
    """
    pixels, bits = choose_pixels(codec, source.bits, source.alpha)
    aspect = source.aspect
    squared = aspect != 1 and container.name in ("matroska", "webm") and codec.encoder not in _SHAPED
    if squared:
        size = (round(size[0] * max(aspect, 1)), round(size[1] / min(aspect, 1)))
        aspect = Fraction(1)
    if "420" in pixels or "422" in pixels:
        size = (size[0] + size[0] % 2, size[1] + (size[1] % 2 if "420" in pixels else 0))
    colour = source.colour or Colour(RGB, FULL, UNKNOWN, UNKNOWN)
    if "yuv" not in pixels:
        colour = colour._replace(matrix=RGB, range=FULL)
    elif colour.matrix == RGB:
        colour = colour._replace(matrix=BT709, range=LIMITED)
    return Output(container, codec, pixels, bits, size, colour, aspect, source.rate, source.unit, squared)


class ClipWriter:
    """Encodes frames into parts, from where the parts end.

    Args:
        output: how.
        parts: where to.

    Attributes:
        done: how many frames are in parts.
    """

    def __init__(self, output: Output, parts: Parts):
        self.output, self.parts = output, parts
        self.done = sum(len(entry["packets"]) for entry in parts.found)
        self._open: _Segment | None = None

    def add(self, picture: Image.Image | np.ndarray, start: int, duration: int) -> None:
        """Adds a frame.

        Args:
            picture: as `enlarge` gives it.
            start, duration: when and how long it is shown.

        Raises:
            SrkdError: it cannot be encoded, or a part cannot be written.
        """
        if self._open is None:
            self._open = _Segment(self.output)
        self._open.add(picture, start, duration)
        if self._open.frames >= SEGMENT:
            self.keep()

    def keep(self) -> None:
        """Makes a part of the frames that are in none yet."""
        segment, self._open = self._open, None
        if segment is None or not segment.frames:
            return
        packets = segment.close()
        about = {
            "packets": [[*packet[1:], len(packet.data)] for packet in packets],
            "head": base64.b64encode(segment.head).decode(),
        }
        self.parts.add(b"".join(packet.data for packet in packets), about)
        self.done += len(packets)


class _Segment:
    """An encoder at work."""

    def __init__(self, output: Output):
        av: Any = import_av()
        from av.video.reformatter import VideoReformatter

        self.output, self.frames = output, 0
        self.errors = av.error.FFmpegError
        self.reformatter = VideoReformatter()
        self.packets: list[Any] = []
        self.durations: dict[int, int] = {}
        self.context = av.CodecContext.create(output.codec.encoder, "w")
        output.prepare(self.context)
        try:
            self.context.open()
        except (self.errors, ValueError) as error:
            width, height = output.size
            raise SrkdError(
                f"{output.codec.encoder} does not take {width}x{height} {output.pixels} "
                f"({first_line(error)}); choose another --codec or --scale"
            ) from error
        self.head = bytes(self.context.extradata or b"")

    def add(self, picture: Image.Image | np.ndarray, start: int, duration: int) -> None:
        frame = self._convert(np.asarray(picture))
        frame.pts, frame.duration, frame.time_base = start, duration, self.output.unit
        self.durations[start] = duration
        try:
            self.packets += self.context.encode(frame)
        except self.errors as error:
            raise SrkdError(f"{self.output.codec.encoder} failed: {first_line(error)}") from error
        self.frames += 1

    def close(self) -> list[Coded]:
        """The frames, encoded, in the order in which they are decoded."""
        try:
            self.packets += self.context.encode(None)
        except self.errors as error:
            raise SrkdError(f"{self.output.codec.encoder} failed: {first_line(error)}") from error
        # Which an interruption inside the encoder may have cost.
        if sorted(packet.pts for packet in self.packets) != sorted(self.durations):
            raise SrkdError(f"{self.output.codec.encoder} lost frames; run the command again")
        return [
            Coded(bytes(packet), packet.pts, self.durations[packet.pts], packet.is_keyframe)
            for packet in self.packets
        ]

    def _convert(self, values: np.ndarray) -> Any:
        """A picture as the encoder takes it."""
        from av.video.frame import VideoFrame

        output, deep = self.output, values.dtype == np.uint16
        values = values[..., None] if values.ndim == 2 else values
        if values.shape[2] < 3:
            values = np.concatenate([values[..., :1].repeat(3, axis=2), values[..., 1:]], axis=2)
        if output.alpha and values.shape[2] == 3:
            opaque = np.full((*values.shape[:2], 1), np.iinfo(values.dtype).max, values.dtype)
            values = np.concatenate([values, opaque], axis=2)
        rows, columns = (
            large - side for large, side in zip(output.size[::-1], values.shape[:2], strict=True)
        )
        if (rows or columns) and not output.squared:
            values = np.pad(values, ((0, rows), (0, columns), (0, 0)), mode="edge")
        kind = ("rgba64le" if deep else "rgba") if values.shape[2] == 4 else ("rgb48le" if deep else "rgb24")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(values), kind)
        frame.colorspace, frame.color_range = RGB, FULL
        matrix, limits, primaries, transfer = output.colour
        frame = self.reformatter.reformat(
            frame,
            *output.size,
            format=output.pixels,
            dst_colorspace=None if matrix == RGB else _SCALER.get(matrix, matrix),
            dst_color_range=limits,
            interpolation=exact_flags(),
        )
        frame.colorspace, frame.color_range = matrix, limits
        frame.color_primaries, frame.color_trc = primaries, transfer
        return frame


def read_packets(parts: Parts) -> Iterator[Coded]:
    """The encoded frames of all parts, in the order in which they are decoded."""
    for number, entry in enumerate(parts.found):
        data, place = parts.read(number), 0
        for start, duration, key, size in entry["packets"]:
            yield Coded(data[place : place + size], start, duration, key)
            place += size
