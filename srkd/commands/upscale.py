"""`srkd upscale`: photographs in, larger photographs out."""

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from srkd.engines import Cluster, Engine, open_engine
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, check_path, describe_type, hash_file, is_file
from srkd.images.formats import FORMATS, MEGAPIXELS
from srkd.remote import localised
from srkd.runtimes.runner import Runner
from srkd.stores import is_remote
from srkd.terminal import Progress, on_stderr, reports, say
from srkd.upscaling import tasks
from srkd.upscaling.journal import Job, Journal
from srkd.upscaling.limits import check_options
from srkd.upscaling.many import Enlarge, Outcome, enlarge_all, enlarge_here, enlarge_there
from srkd.upscaling.moving import ClipOptions, CodecName, check_moving
from srkd.upscaling.opening import BICUBIC, Backend, Device, Precision, Purpose, default_weights
from srkd.upscaling.outputs import Plan, plan_outputs
from srkd.upscaling.sharpness import find_pair
from srkd.upscaling.sizes import Size, parse_size
from srkd.upscaling.streams import STANDARD_OUTPUT, replace_streams
from srkd.upscaling.tasks import Facts, Opening
from srkd.video.formats import CONTAINERS
from srkd.weights.catalogue import find_weights


@reports
def upscale(
    images: Sequence[StrPath] | StrPath,
    out: StrPath,
    *,
    weights: StrPath | None = None,
    purpose: Purpose | None = None,
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
    engine: Engine = "local",
    address: str | None = None,
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
            URLs that fsspec opens too, such as s3://bucket/photos/ or https://host/photo.jpg; and tar
            archives by name or glob, the shards of WebDataset, of which each becomes one.
        out: the file to write, or a folder (where names are kept); `-` is standard output. URLs too.
        weights: a weights file or shipped name, or `bicubic`; a shipped one when not given.
        purpose: chooses among the shipped weights: `clean`, the default, enlarges clean images faithfully;
            `sharp` does so with invented detail; `photo` frees photographs of cameras and the web from noise,
            blur and JPEG's blocks.
        scale: size of the output over that of the input; the weights' own when not given. Others are
            reached by resampling the network's output (Lanczos).
        width: of the output in pixels, instead of `scale`; the height follows.
        height: of the output in pixels, instead of `scale`; the width follows.
        fit: the largest output that fits into a box, as `3840x2160`, instead of `scale`. What is as
            large already is resampled without a network, as with `width` and `height`.
        seamless: the image's opposite borders meet, as of a texture that is laid as tiles; they still do in
            the output.
        sharpness: from 0, the faithful weights of a shipped pair, to 1, the sharp ones; between them their
            weights are interpolated, as `srkd interpolate` does.
        format: of the images in a folder; `keep` is the input's (PNG where that cannot be written). Clips
            keep theirs (MKV where that cannot be written).
        quality: 1 to 100, of JPEG, WebP and AVIF; 95 when not given, and lossless where the input is a
            lossless WebP.
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
        threads: CPU threads; all cores when not given, 1 for each worker of Ray.
        engine: where images are enlarged: `local`, one after another in this process, or `ray`, by the
            workers of a Ray cluster, on GPUs where it has some. The files are the same.
        address: of the Ray cluster; the RAY_ADDRESS of the environment, or one on this machine, when not
            given. Its nodes must share the folders.
        megapixels: images and clips whose header declares more megapixels are rejected.
        overwrite: replace files that exist.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works, in LR pixels.

    Returns:
        The files written, but for those at a URL.

    Raises:
        UsageError: no such image, folder or weights, an option out of range, or an output that exists.
        SrkdError: some image could not be read or written; the others are done.
    """
    side = None if isinstance(tile, str) and tile == "auto" else tile
    check_options(tile=side, quality=quality, crf=crf, threads=threads)
    check_options(megapixels=megapixels, sharpness=sharpness)
    size = parse_size(scale, width, height, fit)
    _check_format(format)
    check_path("out", out)
    weights = _choose_weights(weights, purpose)
    with localised(_check_inputs(images), out) as (places, place):
        streams = replace_streams([str(name) for name in places], place, format)
        with streams as (inputs, target, shown):
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
            opening = Opening(weights, scale, backend, device, precision, threads, sharpness, bool(tta))
            options = {"quality": quality, "tile": side, "megapixels": megapixels, "seamless": seamless}
            options |= {"format": format, "clips": ClipOptions(codec, crf, settings)}
            with open_engine(engine, address) as cluster:
                model, enlarge = _prepare(cluster, opening, options)
                done = enlarge_all(enlarge, todo, size, None if plan.alone else journal)
        # Standard output has the image only now.
        with on_stderr() if shown == STANDARD_OUTPUT else contextlib.nullcontext():
            _report(plan, todo, done, f"{_describe(size, model, len(plan.jobs) - len(todo))} -> {shown}")
        return [] if shown == STANDARD_OUTPUT or is_remote(out) else done.made


def _check_format(format: str) -> None:
    if format != "keep" and f".{format}" not in FORMATS:
        raise UsageError(f"this installation's Pillow does not write {format}; choose another --format")


def _choose_weights(weights: StrPath | None, purpose: Purpose | None) -> StrPath:
    """The given weights, or the shipped ones for a purpose. Raises UsageError where both are given."""
    if weights and purpose:
        raise UsageError(f"--for {purpose} chooses the weights; leave out --weights")
    weights = weights or default_weights(purpose)
    check_path("weights", weights)
    return weights


def _prepare(
    cluster: Cluster | None, opening: Opening, options: dict[str, Any]
) -> tuple[Runner | Facts, Enlarge]:
    """What enlarges images, in this process or by the workers of a cluster; and the network, or its facts."""
    if cluster is None:
        model = opening.open()
        return model, partial(enlarge_here, model, options)
    opening, needs = tasks.place(cluster, opening)
    facts = tasks.describe(cluster, opening, needs)
    return facts, partial(enlarge_there, cluster, opening, needs, options)


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
    existing = [job.target for job in todo if is_file(job.target) and (plan.alone or not journal.began(job))]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another -o")
    return todo


def _describe(size: Size, model: Runner | Facts, before: int) -> str:
    """How images were enlarged, and how many were before."""
    asked = size if size.in_pixels or size.scale else Size(model.scale)
    earlier = f", {before} were done before" if before else ""
    return f"{asked.describe()} with {model.name} ({model.runtime}){earlier}"


def _report(plan: Plan, todo: Sequence[Job], done: Outcome, how: str) -> None:
    """Says what was done, and raises SrkdError where something failed."""
    more = done.images - len(done.failures) - len(done.made)
    made = _count([job for job in todo if job.target in done.made], more)
    say(f"upscaled {made} {how}")
    what = "images or folders" if plan.failures else "images"
    _complain([*plan.failures, *done.failures], done.images + len(plan.failures), what)


def _count(jobs: Sequence[Job], more: int = 0) -> str:
    """How many images and clips there are, in words; `more` images are in shards."""
    clips = sum(job.target.suffix.lower() in CONTAINERS for job in jobs)
    counts = {"image": len(jobs) - clips + more, "clip": clips}
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
