"""`srkd upscale`: photographs in, larger photographs out."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from srkd.errors import SrkdError, UsageError, first_line
from srkd.files import StrPath, check_path, describe_type, hash_file, is_file
from srkd.images.formats import FORMATS, MEGAPIXELS
from srkd.images.reading import measure
from srkd.runtimes.runner import Runner, average_flips
from srkd.terminal import Progress, note, on_stderr, reports, say
from srkd.terminal import progress as progress_of
from srkd.upscaling.enlarge import Advance, enlarge_file
from srkd.upscaling.journal import Job, Journal
from srkd.upscaling.limits import check_options
from srkd.upscaling.moving import (
    CodecName,
    Options,
    check_moving,
    enlarge_moving,
    is_moving,
    measure_moving,
)
from srkd.upscaling.opening import (
    BICUBIC,
    Backend,
    Device,
    Precision,
    RunnerOptions,
    default_weights,
    open_fastest,
)
from srkd.upscaling.outputs import Plan, plan_outputs
from srkd.upscaling.sharpness import find_pair
from srkd.upscaling.sizes import Size, parse_size
from srkd.upscaling.streams import STANDARD_OUTPUT, replace_streams
from srkd.video.formats import CONTAINERS
from srkd.weights.catalogue import find_weights


@reports
def upscale(
    images: Sequence[StrPath] | StrPath,
    out: StrPath,
    *,
    weights: StrPath | None = None,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    fit: str | None = None,
    seamless: bool = False,
    sharpness: float | None = None,
    format: Literal["keep", "png", "jpg", "webp", "tiff", "bmp", "avif"] = "keep",
    quality: int | None = None,
    codec: CodecName = "auto",
    crf: int | None = None,
    tta: bool = False,
    tile: int | Literal["auto"] = "auto",
    backend: Backend = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    megapixels: float = MEGAPIXELS,
    overwrite: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> list[Path]:
    """Upscale images and clips: files, globs, and folders with everything in them.

    Depth (8 or 16 bit), gray, transparency, colour profile, EXIF, IPTC, XMP, texts and resolution are kept
    where the format holds them, and what it does not hold is said; EXIF's orientation is applied. Each output
    appears whole or not at all. A job into a folder resumes when it is run again: images that are done are
    not done twice. An image that fails does not stop the others.

    Clips (with `pip install 'srkd[video]'`) keep times, colours, depth, pixel shape, sound, subtitles,
    chapters and texts where the output's container holds them, and are turned upright. A job that is
    interrupted or killed goes on when it is run again. Animated GIF, WebP and PNG keep times, loops and
    transparency, and may become clips, and clips GIF, WebP and `.apng`. In folders, clips are upscaled too.

    Args:
        images: image files, clips, quoted globs, or folders, whose structure is kept; `-` is standard input.
        out: the file to write, or a folder (where names are kept); `-` is standard output.
        weights: a weights file or shipped name, or `bicubic`; the default shipped one when not given.
        scale: size of the output over that of the input; the weights' own when not given. Others are
            reached by resampling the network's output (Lanczos).
        width: of the output in pixels, in the place of `scale`; the height follows.
        height: of the output in pixels, in the place of `scale`; the width follows.
        fit: the largest output that fits into a box, as `3840x2160`, in the place of `scale`. What is as
            large already is resampled without a network, as with `width` and `height`.
        seamless: the image's opposite borders meet, as of a texture that is laid as tiles; they still do in
            the output.
        sharpness: from 0, the faithful weights of a shipped pair, to 1, the sharp ones; between them their
            weights are interpolated, as `srkd interpolate` does.
        format: of the images in a folder; `keep` is the input's (PNG where that cannot be written). Clips
            keep theirs (MKV where that cannot be written).
        quality: 1 to 100, of JPEG, WebP and AVIF; 95 when not given, and none lost where a WebP lost none.
        codec: of clips; `auto` is h264, in WebM vp9. `ffv1` loses nothing. All but it and `prores` keep
            colours at half the size (4:2:0).
        crf: quality of clips, 0 to 63 (h264 and h265: 51), lower is better; 18 for h264, 20 for h265, 25 for
            av1, 24 for vp9 when not given.
        tta: average over the eight flips and rotations, which takes eight times as long and is slightly
            better.
        tile: side of the tiles in LR pixels, which bounds the memory used; `auto` chooses it by free memory,
            0 takes the whole image at once.
        backend: `onnxruntime`, `torch`, `openvino` or `ncnn`; `auto` is torch on a GPU, ONNX Runtime on a
            CPU, and for files of others what runs them.
        device: where torch runs: `cpu`, `mps`, `cuda`, or one of several GPUs, `cuda:1`.
        precision: of torch: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA.
        threads: CPU threads; all cores when not given.
        megapixels: images and clips whose header declares more megapixels are rejected.
        overwrite: replace files that exist.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works, in LR pixels.

    Returns:
        The files written.

    Raises:
        UsageError: no such image, folder or weights, an option out of range, or an output that exists.
        SrkdError: some image could not be read or written; the others are done.
    """
    side = None if isinstance(tile, str) and tile == "auto" else tile
    check_options(tile=side, quality=quality, crf=crf, threads=threads)
    check_options(megapixels=megapixels, sharpness=sharpness)
    size = parse_size(scale, width, height, fit)
    if format != "keep" and f".{format}" not in FORMATS:
        raise UsageError(f"this installation's Pillow does not write {format}; choose another --format")
    check_path("out", out)
    weights = weights or default_weights()
    check_path("weights", weights)
    with replace_streams(_check_inputs(images), out, format) as (inputs, target, shown):
        plan = plan_outputs(inputs, target, format)
        check_moving(plan.jobs, codec, crf, quality)
        always = {"scale": scale, "quality": quality, "tta": bool(tta), "sharpness": sharpness}
        more = {"size": size.in_pixels, "seamless": seamless, "codec": codec, "crf": crf}
        settings = {"weights": _identify(weights, sharpness), **always, **_leave_out_defaults(more)}
        journal = Journal(target, settings)
        todo = _leave_out_done(plan, journal, overwrite)
        if not todo:
            say(f"all {_count(plan.jobs)} were upscaled before -> {shown}")
            _complain(plan.failures, len(plan.failures), "images or folders")
            return []
        how = RunnerOptions(backend=backend, device=device, precision=precision, threads=threads)
        how["sharpness"] = sharpness
        model = open_fastest(weights, scale, **how)
        runner = average_flips(model) if tta else model
        options = Options(size, model.scale, codec, crf, quality, side, seamless, megapixels, settings)
        made, failures = _enlarge_all(runner, todo, options, None if plan.alone else journal)
    # Standard output has the image only now.
    with on_stderr() if shown == STANDARD_OUTPUT else contextlib.nullcontext():
        done = [job for job in todo if job.target in made]
        say(f"{_summarise(plan, len(todo), done, size, model)} -> {shown}")
        what = "images or folders" if plan.failures else "images"
        _complain([*plan.failures, *failures], len(todo) + len(plan.failures), what)
    return [] if shown == STANDARD_OUTPUT else made


def _enlarge_all(
    runner: Runner, jobs: Sequence[Job], options: Options, journal: Journal | None
) -> tuple[list[Path], list[str]]:
    """Enlarges images, and says what they lose by their formats; returns the files written and what went
    wrong.

    Args:
        runner: what enlarges.
        jobs: the images and their outputs.
        options: how.
        journal: takes note of what is done; without it the first error is raised.
    """
    made, failures = [], []
    lost: dict[str, list[str]] = {}
    unchanged = []
    moving = {job for job in jobs if is_moving(*job)}
    total = sum(measure_moving(job, options) if job in moving else measure(job.source) for job in jobs)
    with progress_of("upscaling", total, every=30) as advance:
        for job in jobs:
            try:
                enlarge_job = enlarge_moving if job in moving else _enlarge_still
                shrunk, sentences = enlarge_job(runner, job, options, advance)
            except Exception as error:  # whatever one image does must not end the others
                if journal is None:
                    raise
                told = str(error) if isinstance(error, SrkdError) else f"{job.source}: {first_line(error)}"
                failures.append(told)
                continue
            made.append(job.target)
            unchanged += [job.source.name] if shrunk else []
            for sentence in sentences:
                lost.setdefault(sentence, []).append(job.source.name)
            if journal is not None:
                journal.add(job)
    for sentence, names in lost.items():
        note(f"{sentence}: {_name(names)}", "left out")
    if unchanged:
        note(f"as large already, so resampled without the network: {_name(unchanged)}")
    return made, failures


def _enlarge_still(
    runner: Runner, job: Job, options: Options, advance: Advance
) -> tuple[bool, tuple[str, ...]]:
    return enlarge_file(
        runner,
        *job,
        options.size,
        quality=options.quality,
        tile=options.tile,
        seamless=options.seamless,
        megapixels=options.megapixels,
        advance=advance,
    )


def _name(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} images, such as {names[0]}"


def _check_inputs(images: Any) -> list[str]:
    """The inputs as texts.

    Raises:
        UsageError: they are no paths, or none.
    """
    inputs = [images] if isinstance(images, str | Path) else images
    if isinstance(inputs, list | tuple | set | frozenset) and all(isinstance(x, str | Path) for x in inputs):
        if not inputs:
            raise UsageError("name the images to upscale")
        return [str(text) for text in inputs]
    if isinstance(inputs, list | tuple) and inputs:
        inputs = next(x for x in inputs if not isinstance(x, str | Path))
    raise UsageError(
        f"images are paths of files and folders, not {describe_type(inputs)}; for arrays, Pillow images and "
        "tensors call srkd.upscale_image(image)"
    )


def _identify(weights: StrPath, sharpness: float | None) -> str:
    names = [weights] if sharpness is None else find_pair(weights)
    return "+".join(BICUBIC if str(name) == BICUBIC else hash_file(find_weights(name), 16) for name in names)


def _leave_out_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are given: earlier journals have no others."""
    return {k: v for k, v in options.items() if v not in ("", "auto", None) and v is not False}


def _leave_out_done(plan: Plan, journal: Journal, overwrite: bool) -> list[Job]:
    """The jobs that are not done.

    Raises:
        UsageError: the output of one exists.
    """
    todo = plan.jobs if overwrite or plan.alone else [job for job in plan.jobs if not journal.holds(job)]
    existing = [job.target for job in todo if is_file(job.target)]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another -o")
    return todo


def _summarise(plan: Plan, tried: int, made: Sequence[Job], size: Size, model: Runner) -> str:
    asked = size if size.in_pixels or size.scale else Size(model.scale)
    said = f"upscaled {_count(made)} {asked.describe()} with {model.name} ({model.runtime})"
    if tried < len(plan.jobs):
        said += f", {len(plan.jobs) - tried} were done before"
    return said


def _count(jobs: Sequence[Job]) -> str:
    """How many images and clips there are, in words."""
    clips = sum(job.target.suffix.lower() in CONTAINERS for job in jobs)
    counts = {"image": len(jobs) - clips, "clip": clips}
    said = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count]
    return " and ".join(said) or "0 images"


def _complain(failures: Sequence[str], tried: int, what: str) -> None:
    """Raises SrkdError where some images failed; many are listed in lines of their own."""
    if not failures:
        return
    told = "; ".join(failures)
    if len(failures) > 3:
        told = "see the lines above"
        for failure in failures:
            say(f"failed: {failure}")
    raise SrkdError(f"{len(failures)} of {tried} {what} failed: {told}; the others are done")
