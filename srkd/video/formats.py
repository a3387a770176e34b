"""What files of moving pictures can hold, and which encoders write them."""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from srkd.errors import UsageError, name_missing_extra

# What a name tells to be a clip. In a folder, not those that are as often source code (TypeScript) or parts
# of a DVD.
CLIPS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".m2ts", ".wmv", ".asf"}
    | {".flv", ".3gp", ".3g2", ".ogv", ".mxf", ".y4m", ".nut", ".rm", ".rmvb", ".divx"}
)
CLIPS_BY_NAME = CLIPS | {".ts", ".mts", ".vob", ".h264", ".264", ".hevc", ".265", ".ivf", ".obu"}
# What Pillow reads and is written frame by frame.
ANIMATIONS = (".gif", ".webp", ".png", ".apng")
# What alone of them is always an animation, be it of one frame.
ALWAYS_ANIMATED = (".gif", ".apng")


class Codec(NamedTuple):
    """How a codec is written.

    Args:
        encoder: FFmpeg's name of the encoder.
        formats: of pixels, with the bits of each, ascending.
        crf: the quality where none is asked for; lower is better; None where it has none.
        worst: the highest crf.
        options: of the encoder.
        alpha: formats with transparency.
    """

    encoder: str
    formats: tuple[tuple[int, str], ...]
    crf: int | None = None
    worst: int = 0
    options: dict[str, str] = {}  # noqa: RUF012  # nobody changes a named tuple's default
    alpha: tuple[tuple[int, str], ...] = ()


_420 = ((8, "yuv420p"), (10, "yuv420p10le"), (12, "yuv420p12le"))
CODECS = {
    "h264": Codec("libx264", _420[:2], 18, 51),
    "h265": Codec("libx265", _420, 20, 51, {"x265-params": "log-level=error"}),
    "av1": Codec("libsvtav1", _420[:2], 25, 63, {"preset": "7"}),
    "vp9": Codec("libvpx-vp9", _420, 24, 63, {"b": "0", "row-mt": "1", "cpu-used": "2"}),
    "prores": Codec("prores_ks", ((10, "yuv422p10le"),), alpha=((10, "yuva444p10le"),)),
    "ffv1": Codec(
        "ffv1",
        ((8, "bgr0"), (10, "gbrp10le"), (12, "gbrp12le"), (16, "gbrp16le")),
        options={"level": "3"},
        alpha=((8, "bgra"), (10, "gbrap10le"), (12, "gbrap12le"), (16, "gbrap16le")),
    ),
}


class Container(NamedTuple):
    """How a file of clips is written.

    Args:
        name: FFmpeg's, of its format.
        codecs: what it holds, names of CODECS; the first where none is asked for.
        options: FFmpeg's, for writing it.
        attachments: whether it holds files.
    """

    name: str
    codecs: tuple[str, ...]
    options: dict[str, str] = {}  # noqa: RUF012  # as above
    attachments: bool = False


_MP4 = Container("mp4", ("h264", "h265", "av1", "vp9"), {"movflags": "+faststart"})
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container("mov", ("h264", "h265", "prores"), {"movflags": "+faststart"}),
    ".mkv": Container("matroska", ("h264", "h265", "av1", "vp9", "prores", "ffv1"), attachments=True),
    ".webm": Container("webm", ("vp9", "av1")),
}
# What other clips become in a folder: it holds any sound.
FALLBACK = ".mkv"


def import_av() -> ModuleType:
    """PyAV.

    Raises:
        UsageError: it is not installed.
    """
    # AV1's encoder prints its settings otherwise.
    os.environ.setdefault("SVT_LOG", "1")
    try:
        return importlib.import_module("av")
    except ModuleNotFoundError as error:
        raise name_missing_extra(error, "video") from error


def choose_codec(target: Path, name: str, crf: int | None) -> Codec:
    """The codec for a file, and its quality.

    Raises:
        UsageError: its container does not hold the codec, or the codec has no such quality.
    """
    held = CONTAINERS[target.suffix.lower()].codecs
    name = held[0] if name == "auto" else name
    if name not in held:
        others = ", ".join(suffix for suffix, kind in CONTAINERS.items() if name in kind.codecs)
        raise UsageError(
            f"{target.suffix} does not hold {name}, but {', '.join(held)}; {name} goes into {others}"
        )
    codec = CODECS[name]
    if crf is not None and codec.crf is None:
        raise UsageError(f"{name} has no --crf; leave it out")
    if crf is not None and not 0 <= crf <= codec.worst:
        raise UsageError(f"crf of {name} must be a whole number from 0 to {codec.worst}, not {crf}")
    return codec._replace(crf=codec.crf if crf is None else crf)


def choose_pixels(codec: Codec, bits: int, alpha: bool) -> tuple[str, int]:
    """The format of pixels that an encoder here has for so many bits, or its deepest; and its bits."""
    av: Any = import_av()
    offered = {one.name for one in av.Codec(codec.encoder, "w").video_formats or ()}
    table = codec.alpha if alpha and codec.alpha else codec.formats
    # Some encoders tell what they take only when they are opened; the first of each all have.
    table = [entry for entry in table if entry[1] in offered] or table[:1]
    depth, name = next((entry for entry in table if entry[0] >= bits), table[-1])
    return name, depth
