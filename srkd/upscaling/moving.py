"""Clips and animations, enlarged frame by frame: from file to file, going on where an earlier job ended."""

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from srkd.errors import SrkdError, UsageError
from srkd.files import check_writable, is_file
from srkd.images.folders import IMAGES
from srkd.images.formats import FORMATS, MEGAPIXELS, Format, check_suffix
from srkd.images.photo import Photo
from srkd.images.reading import measure
from srkd.runtimes.runner import Runner
from srkd.terminal import note, say
from srkd.upscaling.enlarge import Advance, enlarge, naming
from srkd.upscaling.journal import Job
from srkd.upscaling.sizes import OWN, Size
from srkd.video import formats
from srkd.video.animating import AnimationWriter, write_animation
from srkd.video.animations import count_frames, open_animation
from srkd.video.clips import is_clip, open_clip
from srkd.video.encoding import ClipWriter, Output, plan_output
from srkd.video.formats import ALWAYS_ANIMATED, ANIMATIONS, CLIPS_BY_NAME, CONTAINERS, choose_codec
from srkd.video.joining import join
from srkd.video.parts import Parts, count_done
from srkd.video.source import Faults, Source

CodecName = Literal["auto", "h264", "h265", "av1", "vp9", "prores", "ffv1"]
Kind = Literal["image", "animation", "clip"]


class ClipOptions(NamedTuple):
    """How clips are written.

    Args:
        codec, crf: as `srkd upscale` takes them.
        settings: what the pixels of clips and animations depend on.
    """

    codec: CodecName = "auto"
    crf: int | None = None
    settings: dict[str, Any] = {}  # noqa: RUF012  # nobody changes a named tuple's default


DEFAULTS = ClipOptions()


class Options(NamedTuple):
    """How moving pictures are enlarged and written.

    Args:
        size: the results'.
        factor: the model's.
        quality: of animated WebP.
        tile: as for `Runner.parts`.
        seamless: whether opposite borders of frames meet.
        megapixels: clips of larger frames are rejected.
        clips: how clips are written.
    """

    size: Size
    factor: int
    quality: int | None
    tile: int | None
    seamless: bool
    megapixels: float
    clips: ClipOptions


def kind_of(source: Path) -> Kind:
    """What a file holds: clips by their names, the rest by its content; what cannot be read is an image."""
    suffix = source.suffix.lower()
    if suffix in CLIPS_BY_NAME:
        return "clip"
    if not is_file(source):
        return "image"
    frames = count_frames(source)
    if frames is None and suffix in ALWAYS_ANIMATED:
        return "animation"
    if frames is None:
        return "image" if suffix in IMAGES or not is_clip(source) else "clip"
    return "animation" if frames else "image"


def is_moving(source: Path, target: Path) -> bool:
    """Whether a file is enlarged frame by frame. A GIF of one frame is an image, unless it stays a GIF."""
    kind = kind_of(source)
    if kind == "animation" and target.suffix.lower() in FORMATS:
        return count_frames(source) != 1
    return kind != "image"


def choose_suffix(source: Path, format: str) -> str:
    """The suffix of the output of moving pictures, where none is named: a clip's container or, where that is
    not written, MKV; an animation's format, or the one that is asked for."""
    suffix = source.suffix.lower()
    if kind_of(source) == "animation":
        return f".{format}" if format != "keep" else suffix if suffix in ANIMATIONS else ".png"
    return suffix if suffix in CONTAINERS else formats.FALLBACK


def check_target(source: Path, target: Path) -> None:
    """Raises UsageError unless what is in the source can be written under the target's name."""
    suffix, kind = target.suffix.lower(), kind_of(source)
    if kind == "image" or (kind == "animation" and suffix in FORMATS and count_frames(source) == 1):
        check_suffix(target)
        return
    # A clip as PNG is more often a still that is meant than an animation.
    fitting = [*CONTAINERS, *ANIMATIONS] if kind == "animation" else [*CONTAINERS, ".gif", ".webp", ".apng"]
    if suffix not in fitting:
        what = "a clip" if kind == "clip" else "an animation"
        raise UsageError(
            f"cannot write {target}: {source} is {what}; its name must end in one of {', '.join(fitting)}"
        )


def check_moving(jobs: Sequence[Job], codec: CodecName, crf: int | None, quality: int | None) -> None:
    """Raises UsageError where options of clips do not fit the jobs."""
    clips = [job for job in jobs if job.target.suffix.lower() in CONTAINERS]
    if not clips and (codec != "auto" or crf is not None):
        raise UsageError("--codec and --crf are of clips, and there is none")
    if clips and len(clips) == len(jobs) and quality is not None:
        raise UsageError("--quality is of images and animated WebP; clips have --crf")
    for job in clips:
        choose_codec(job.target, codec, crf)
        formats.import_av()


class _Work(NamedTuple):
    """A job, opened: its source, how it is written, and what of it is done."""

    source: Source
    output: Output | None
    writer: ClipWriter | AnimationWriter


def _open_source(path: Path, megapixels: float) -> Source:
    opener = open_animation if kind_of(path) == "animation" else open_clip
    return opener(path, megapixels)


def _open(job: Job, options: Options) -> _Work:
    path, target = job
    source = _open_source(path, options.megapixels)
    width, height = source.size
    size = options.size.of(height, width, options.factor)[::-1]
    facts = path.stat()
    begun = {"source": [facts.st_size, facts.st_mtime_ns], "size": size, "settings": options.clips.settings}
    if target.suffix.lower() not in CONTAINERS:
        return _Work(source, None, AnimationWriter(Parts(target, begun)))
    codec = choose_codec(target, options.clips.codec, options.clips.crf)
    output = plan_output(source, CONTAINERS[target.suffix.lower()], codec, (size[0], size[1]))
    return _Work(source, output, ClipWriter(output, Parts(target, {**begun, **output.describe()})))


def measure_job(job: Job) -> float:
    """LR pixels that are left of a job, of an image all; 0 where its source cannot be read."""
    if not is_moving(*job):
        return measure(job.source)
    try:
        source = _open_source(job.source, MEGAPIXELS)
    except (SrkdError, OSError):
        return 0
    return max(source.count - count_done(job.target), 0) * float(np.prod(source.size))


def enlarge_moving(
    model: Runner,
    job: Job,
    size: Size = OWN,
    *,
    quality: int | None = None,
    tile: int | None = None,
    seamless: bool = False,
    megapixels: float = MEGAPIXELS,
    clips: ClipOptions = DEFAULTS,
    advance: Advance = lambda pixels: None,
) -> tuple[bool, tuple[str, ...]]:
    """Enlarges a clip or animation into another, which appears whole or not at all.

    What is done is kept beside the target, and the next call goes on behind it. A frame equal to the last is
    not computed again. Frames that are damaged are told at the end.

    Args:
        model: what enlarges.
        job: the source, and the target, whose suffix is its format.
        size: the result's.
        quality, tile, seamless, megapixels: as for `enlarge_file`; the quality is that of animated WebP.
        clips: how clips are written.
        advance: called with LR pixels that are done.

    Returns:
        Whether the network was left out, since frames are as large already; and what was left out of the
        source, and why, a sentence each.

    Raises:
        SrkdError: it cannot be read, enlarged or written, for whatever reason; the message names it.
    """
    options = Options(size, model.scale, quality, tile, seamless, megapixels, clips)
    with naming(job.source):
        check_writable(job.target)
        work = _open(job, options)
        source, output, writer = work
        if writer.done:
            about = "" if source.declared else "about "
            say(f"{job.source.name}: going on after {writer.done} of {about}{source.count} frames")
        faults = Faults()
        try:
            end = _enlarge_frames(model, work, options, faults, advance)
        except BaseException as error:
            # Also when Ctrl-C is pressed; a second time ends it at once.
            with contextlib.suppress(SrkdError):
                writer.keep()
            if isinstance(error, KeyboardInterrupt) and writer.done:
                say(f"{job.source.name}: {writer.done} frames are kept; run it again to go on")
            raise
        writer.keep()
        if not writer.done:
            raise SrkdError(f"{job.source} is damaged: none of its frames can be decoded")
        # Headers count some frames that are not shown.
        missing = source.declared - writer.done
        if missing > 1 + source.declared // 50:
            note(
                f"{job.source} ends at {end:.2f} s, some {missing} frames before what it declares", "warning"
            )
        for sentence in faults.describe():
            note(f"{job.source}: {sentence}", "warning")
        if output is None:
            lost = write_animation(source, writer.parts, options.quality)
        else:
            lost = join(source, output, writer.parts)
        writer.parts.remove()
        shrunk = options.size.shrinks(*source.size[::-1])
        return shrunk, (*source.lost, *_find_losses(work, options), *lost)


def _enlarge_frames(model: Runner, work: _Work, options: Options, faults: Faults, advance: Advance) -> float:
    """Enlarges the frames that are not done; returns when the last one ends, in seconds."""
    source, output, writer = work
    deep, alpha = (output.bits > 8, output.alpha) if output else (False, True)
    kind = Format(alpha=alpha, deep=deep, longest=2**31 - 1, lossy=True, options={})
    # Once for all frames: other tiles round otherwise, and what stands still would flicker.
    width, height = source.size
    tile = model.choose_tiles(height, width) if options.tile is None else options.tile
    last: Photo | None = None
    picture: Any = None
    end = Fraction(0)
    for frame in source.read(writer.done, faults):
        if last is None or not _same(frame.photo, last):
            picture = enlarge(
                model, frame.photo, kind, options.size, tile, advance, seamless=options.seamless
            )
        else:
            advance(width * height)
        writer.add(picture, frame.start, frame.duration)
        last, end = frame.photo, (frame.start + frame.duration) * source.unit
    return float(end)


def _same(a: Photo, b: Photo) -> bool:
    if (a.alpha is None) != (b.alpha is None) or not np.array_equal(a.pixels, b.pixels):
        return False
    return a.alpha is None or b.alpha is None or np.array_equal(a.alpha, b.alpha)


def _find_losses(work: _Work, options: Options) -> list[str]:
    """What the output does not hold of the pictures, a sentence each."""
    source, output, _ = work
    if output is None:
        return ["more than 8 bits become 8"] if source.bits > 8 else []
    lost, name = [], output.codec.encoder
    if output.bits < source.bits:
        lost.append(f"{source.bits} bits become {output.bits} ({name})")
    if source.alpha and not output.alpha:
        lost.append(
            f"{name} has no transparency, which is put on white; prores (.mov) and ffv1 (.mkv) have it"
        )
    size = options.size.of(source.size[1], source.size[0], options.factor)[::-1]
    if output.squared:
        shape = f"{source.aspect.numerator}:{source.aspect.denominator}"
        lost.append(
            f"pixels of {shape} become square, since {name} in {output.container.name} keeps no shape"
        )
    elif tuple(size) != output.size:
        large = "x".join(map(str, output.size))
        lost.append(
            f"{size[0]}x{size[1]} is written as {large}, its border repeated: {output.pixels} has even sides"
        )
    if source.profile:
        lost.append("clips have no place for a colour profile")
    return lost
