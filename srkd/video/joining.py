"""A clip from its encoded frames and what stands beside them in its source: sound, subtitles, chapters."""

import base64
import io
from collections.abc import Iterator
from fractions import Fraction
from heapq import merge
from typing import Any

from srkd.errors import SrkdError, first_line
from srkd.files import replacing
from srkd.video.clips import find_stream, open_container
from srkd.video.encoding import Output, read_packets
from srkd.video.formats import import_av
from srkd.video.parts import Parts
from srkd.video.source import Source

# What containers write themselves, and what is no longer true of the larger pictures.
_STALE = ("encoder", "major_brand", "minor_version", "compatible_brands", "rotate", "alpha_mode", "vendor_id")
_STATISTICS = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")
_KINDS = {"audio": "sound", "subtitle": "subtitles", "data": "data", "attachment": "an attachment"}
# Unit of the start of containers, in seconds.
_MICRO = Fraction(1, 1_000_000)


def join(source: Source, output: Output, parts: Parts) -> tuple[str, ...]:
    """Writes the clip, whole or not at all; nothing is encoded again.

    Args:
        source: what it was made from, whose sound, subtitles, attachments, chapters and texts are copied.
        output: how its frames were encoded.
        parts: its frames.

    Returns:
        What the container does not hold, a sentence each.

    Raises:
        SrkdError: the clip cannot be written, or the source no longer be read.
    """
    av: Any = import_av()
    with replacing(parts.target) as temporary:
        try:
            if source.colour is None:  # an animation, which has pictures alone
                with av.open(
                    str(temporary), "w", output.container.name, options=output.container.options
                ) as file:
                    video = _add_video(file, output, parts)
                    _mux(file, _time(parts, video, output, 0))
                return ()
            with (
                open_container(source.path) as container,
                av.open(str(temporary), "w", output.container.name, options=output.container.options) as file,
            ):
                video = _add_video(file, output, parts)
                _describe(container, file, video)
                copied, lost = _copy_streams(container, file, output)
                # Some formats begin at any time, which players show as a wait.
                shift = -max(container.start_time or 0, 0) * _MICRO
                faults: list[str] = []
                packets = _time(parts, video, output, shift)
                _mux(file, merge(packets, _copy(container, copied, shift, faults), key=_when))
            return (*lost, *faults)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise SrkdError(f"cannot write {parts.target}: {first_line(error)}") from error


def _add_video(file: Any, output: Output, parts: Parts) -> Any:
    """The stream of the pictures. Its encoder encodes nothing, but describes what the parts hold."""
    stream = file.add_stream(output.codec.encoder, output.rate)
    output.prepare(stream.codec_context)
    stream.time_base = output.unit
    stream.codec_context.open()
    head = base64.b64encode(bytes(stream.codec_context.extradata or b"")).decode()
    if any(entry["head"] != head for entry in parts.found):
        parts.remove()
        raise SrkdError(f"the parts of {parts.target} are of another encoder; run the command again")
    return stream


def _describe(container: Any, file: Any, video: Any) -> None:
    """Copies texts and chapters."""
    file.metadata.update(_clean(container.metadata))
    file.set_chapters(container.chapters())
    source = find_stream(container)
    if source is not None:
        video.metadata.update(_clean(source.metadata))
        video.disposition = source.disposition


def _clean(texts: dict[str, str]) -> dict[str, str]:
    return {
        key: text
        for key, text in texts.items()
        if key.lower() not in _STALE and not key.upper().startswith(_STATISTICS)
    }


def _copy_streams(container: Any, file: Any, output: Output) -> tuple[dict[int, Any], list[str]]:
    """Adds the streams that the container holds; returns them by their sources' numbers, and what it does
    not hold."""
    copied, lost = {}, []
    for stream in container.streams:
        if stream.type == "video":
            continue
        name = _KINDS.get(stream.type, stream.type)
        if stream.type == "attachment" and output.container.attachments:
            file.add_attachment(
                stream.metadata.get("filename", "attachment"),
                stream.mimetype or "application/octet-stream",
                bytes(stream.data),
            )
            continue
        if stream.type in ("audio", "subtitle") and _holds(output, stream):
            copied[stream.index] = file.add_stream_from_template(stream, opaque=True)
            copied[stream.index].metadata.update(stream.metadata)
            copied[stream.index].disposition = stream.disposition
            continue
        context = stream.codec_context
        kind = f" ({context.name})" if context is not None else ""
        lost.append(f"{output.container.name} does not hold {name}{kind} as it is in the source")
    return copied, list(dict.fromkeys(lost))


def _holds(output: Output, stream: Any) -> bool:
    """Whether a container takes a stream: what some do not they say only when they are written."""
    av: Any = import_av()
    if stream.codec_context is None:
        return False
    try:
        with av.open(io.BytesIO(), "w", output.container.name) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _time(parts: Parts, stream: Any, output: Output, shift: Fraction | int) -> Iterator[Any]:
    """The pictures' packets. When each is decoded, which encoders count from the start of a segment, is set
    anew for the whole: in their order, the times of all frames, moved so far that none comes too late."""
    av: Any = import_av()
    starts = [start for entry in parts.found for start, *_ in entry["packets"]]
    ordered = sorted(starts)
    ranks = {start: rank for rank, start in enumerate(ordered)}
    delay = max(number - ranks[start] for number, start in enumerate(starts))
    move, lead = round(shift / output.unit), ordered[delay] - ordered[0]
    for number, coded in enumerate(read_packets(parts)):
        packet = av.Packet(coded.data)
        packet.pts = coded.start + move
        packet.dts = move + (ordered[number - delay] if number >= delay else ordered[number] - lead)
        packet.duration, packet.time_base = coded.duration, output.unit
        packet.is_keyframe, packet.stream = coded.key, stream
        yield packet


def _copy(container: Any, copied: dict[int, Any], shift: Fraction, faults: list[str]) -> Iterator[Any]:
    """The packets of sound and subtitles."""
    av: Any = import_av()
    if not copied:
        return
    moves = {index: round(shift / container.streams[index].time_base) for index in copied}
    last = 0.0
    try:
        for packet in container.demux([container.streams[index] for index in copied]):
            if packet.dts is None and packet.pts is None:
                continue
            index = packet.stream.index
            for name in ("pts", "dts"):
                if getattr(packet, name) is not None:
                    setattr(packet, name, getattr(packet, name) + moves[index])
            last = max(last, _when(packet))
            packet.stream = copied[index]
            yield packet
    except av.error.FFmpegError as error:
        faults.append(
            f"sound and subtitles end at {last:.1f} s, where the file cannot be read ({first_line(error)})"
        )


def _when(packet: Any) -> float:
    """When a packet is decoded, in seconds."""
    time = packet.pts if packet.dts is None else packet.dts
    return float(time * packet.time_base)


def _mux(file: Any, packets: Iterator[Any]) -> None:
    for packet in packets:
        file.mux(packet)
