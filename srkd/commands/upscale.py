"""`srkd upscale`: photographs in, larger photographs out."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from srkd.engines import Engine, open_engine
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, check_path, describe_type, hash_file, is_file, is_folder
from srkd.images.folders import describe
from srkd.images.formats import FORMATS, MEGAPIXELS, check_suffix
from srkd.remote import localised
from srkd.runtimes.runner import Runner
from srkd.stores import is_remote
from srkd.terminal import Progress, note, on_stderr, reports, say
from srkd.upscaling import tasks
from srkd.upscaling.inputs import collect
from srkd.upscaling.journal import Job, Journal
from srkd.upscaling.limits import check_options
from srkd.upscaling.many import Outcome, enlarge_all, enlarge_here, enlarge_there
from srkd.upscaling.opening import BICUBIC, Backend, Device, Precision, default_weights
from srkd.upscaling.shards import SUFFIX
from srkd.upscaling.sharpness import find_pair
from srkd.upscaling.sizes import Size, parse_size
from srkd.upscaling.streams import STANDARD_OUTPUT, replace_streams
from srkd.upscaling.tasks import Facts, Opening
from srkd.weights.catalogue import find_weights


class _Plan(NamedTuple):
    """What becomes what.

    Args:
        jobs: the images and their outputs.
        failures: images and folders that cannot be reached, a message each.
        alone: whether it is one image given by its name.
    """

    jobs: list[Job]
    failures: list[str]
    alone: bool


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
    """Upscale images: files, globs, and folders with everything in them.

    Depth (8 or 16 bit), gray, transparency, colour profile, EXIF, IPTC, XMP, texts and resolution are kept
    where the format holds them, and what it does not hold is said; EXIF's orientation is applied. Each output
    appears whole or not at all. A job into a folder resumes when it is run again: images that are done are
    not done twice. An image that fails does not stop the others.

    Args:
        images: image files, quoted globs, or folders, whose structure is kept; `-` is standard input. URLs
            that fsspec opens too, such as s3://bucket/photos/ or https://host/photo.jpg; and tar archives by
            name or glob, the shards of WebDataset, of which each becomes one.
        out: the file to write, or a folder (where names are kept); `-` is standard output. URLs too.
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
        format: of the files in a folder; `keep` is the input's (PNG where that cannot be written).
        quality: 1 to 100, of JPEG, WebP and AVIF; 95 when not given, and none lost where a WebP lost none.
        tta: average over the eight flips and rotations, which takes eight times as long and is slightly
            better.
        tile: side of the tiles in LR pixels, which bounds the memory used; `auto` chooses it by free memory,
            0 takes the whole image at once.
        backend: `onnxruntime`, `torch`, `openvino` or `ncnn`; `auto` is torch on a GPU, ONNX Runtime on a
            CPU, and for files of others what runs them.
        device: where torch runs: `cpu`, `mps`, `cuda`, or one of several GPUs, `cuda:1`.
        precision: of torch: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA.
        threads: CPU threads; all cores when not given, of each worker of Ray 1.
        engine: where images are enlarged: `local`, one after another in this process, or `ray`, by the
            workers of a Ray cluster, on GPUs where it has some. The files are the same.
        address: of the Ray cluster; the RAY_ADDRESS of the environment, or one on this machine, when not
            given. Its nodes must share the folders.
        megapixels: images whose header declares more megapixels are rejected.
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
    check_options(tile=side, quality=quality, threads=threads, megapixels=megapixels, sharpness=sharpness)
    size = parse_size(scale, width, height, fit)
    if format != "keep" and f".{format}" not in FORMATS:
        raise UsageError(f"this installation's Pillow does not write {format}; choose another --format")
    check_path("out", out)
    weights = weights or default_weights()
    check_path("weights", weights)
    with localised(_check_inputs(images), out) as (places, place):
        streams = replace_streams([str(name) for name in places], place, format)
        with streams as (inputs, target, shown):
            plan = _plan(inputs, target, format)
            settings = {"scale": scale, "quality": quality, "tta": bool(tta), "sharpness": sharpness}
            # Only where they are asked for: earlier journals have no more than these.
            settings |= {k: v for k, v in {"size": size.in_pixels, "seamless": seamless}.items() if v}
            journal = Journal(target, {"weights": _identify(weights, sharpness), **settings})
            todo = _leave_out_done(plan, journal, overwrite)
            if not todo:
                say(f"all {len(plan.jobs)} images were upscaled before -> {shown}")
                _complain(plan.failures, len(plan.failures), "images or folders")
                return []
            opening = Opening(weights, scale, backend, device, precision, threads, sharpness, bool(tta))
            options = {"quality": quality, "tile": side, "megapixels": megapixels, "seamless": seamless}
            options["format"] = format
            model, done = _run(opening, options, engine, address, todo, size, None if plan.alone else journal)
        # Standard output has the image only now.
        with on_stderr() if shown == STANDARD_OUTPUT else contextlib.nullcontext():
            count = done.images - len(done.failures)
            say(f"{_summarise(plan, len(todo), count, size, model)} -> {shown}")
            what = "images or folders" if plan.failures else "images"
            _complain([*plan.failures, *done.failures], done.images + len(plan.failures), what)
        return [] if shown == STANDARD_OUTPUT or is_remote(out) else done.made


def _run(
    opening: Opening,
    options: dict[str, Any],
    engine: Engine,
    address: str | None,
    jobs: Sequence[Job],
    size: Size,
    journal: Journal | None,
) -> tuple[Runner | Facts, Outcome]:
    """Enlarges images by an engine; arguments as those of `upscale` and `enlarge_all`."""
    with open_engine(engine, address) as cluster:
        if cluster is None:
            model = opening.open()
            enlarge = partial(enlarge_here, model, options)
        else:
            opening, needs = tasks.place(cluster, opening)
            model = tasks.describe(cluster, opening, needs)
            enlarge = partial(enlarge_there, cluster, opening, needs, options)
        return model, enlarge_all(enlarge, jobs, size, journal)


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


def _leave_out_done(plan: _Plan, journal: Journal, overwrite: bool) -> list[Job]:
    """The jobs that are not done.

    Raises:
        UsageError: the output of one exists.
    """
    todo = plan.jobs if overwrite or plan.alone else [job for job in plan.jobs if not journal.holds(job)]
    existing = [job.target for job in todo if is_file(job.target) and (plan.alone or not journal.began(job))]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another -o")
    return todo


def _summarise(plan: _Plan, tried: int, made: int, size: Size, model: Runner | Facts) -> str:
    asked = size if size.in_pixels or size.scale else Size(model.scale)
    said = f"upscaled {made} image{'s' * (made != 1)} {asked.describe()} with {model.name} ({model.runtime})"
    if tried < len(plan.jobs):
        said += f", {len(plan.jobs) - tried} were done before"
    return said


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


def _plan(texts: Sequence[str], out: Path, format: str) -> _Plan:
    """Finds the images and names their outputs.

    Raises:
        UsageError: there are none, or outputs that would replace inputs or one another.
    """
    inputs = collect(texts, out)
    if inputs.left_out:
        note(describe(inputs.left_out), "left out")
    alone = not inputs.from_folder and len(inputs.images) == 1 and not inputs.failures
    to_file = out.suffix != "" and not is_folder(out)
    if alone and to_file:
        (source,) = inputs.images
        if SUFFIX not in (source.suffix.lower(), out.suffix.lower()):
            check_suffix(out)
        elif source.suffix.lower() != out.suffix.lower():
            raise UsageError(f"a shard becomes a shard: {source} and {out} must both end in {SUFFIX}")
        if _same_place(out, source):
            raise UsageError(f"{out} is the image to upscale; give another -o")
        return _Plan([Job(source, out)], inputs.failures, alone)
    if is_file(out) or (to_file and out.suffix.lower() in FORMATS):
        raise UsageError(f"several images do not fit into the file {out}; give -o a folder")
    jobs = [Job(source, out / name) for source, name in _name_outputs(inputs.images, format).items()]
    _check_targets(jobs)
    return _Plan(jobs, inputs.failures, alone)


def _name_outputs(found: Mapping[Path, Path], format: str) -> dict[Path, Path]:
    """The outputs' paths inside their folder. Of images that differ in their suffixes alone and would become
    one file, each keeps its suffix in its name, which is said."""
    names = {source: _rename(relative, format) for source, relative in found.items()}
    sources: dict[Path, list[Path]] = {}
    for source, name in names.items():
        sources.setdefault(name, []).append(source)
    kept = []
    for name, same in sources.items():
        # What has one name in two folders is no matter of suffixes.
        if len(same) > 1 and len({found[source] for source in same}) == len(same):
            for source in same:
                names[source] = name.with_name(found[source].name + name.suffix)
                kept.append(str(names[source]))
    if kept:
        some = ", ".join(kept[:4]) + (", ..." if len(kept) > 4 else "")
        note(f"images that differ in their suffixes alone keep them in their names: {some}")
    return names


def _check_targets(jobs: Sequence[Job]) -> None:
    # Windows and macOS take IMG.png and img.png for one file.
    fold = str.casefold if sys.platform in ("win32", "darwin") else str
    taken: dict[str, Path] = {}
    for job in jobs:
        other = taken.setdefault(fold(str(job.target)), job.source)
        if other is not job.source:
            raise UsageError(f"{other} and {job.source} would both become {job.target}; rename one of them")
        if _same_place(job.target, job.source):
            raise UsageError(f"{job.source} would replace itself; give another -o")


def _same_place(a: Path, b: Path) -> bool:
    # Unlike Path.resolve, this does not raise where links lead in a circle.
    return os.path.realpath(a) == os.path.realpath(b)


def _rename(path: Path, format: str) -> Path:
    if path.suffix.lower() == SUFFIX:
        return path
    if format != "keep":
        return path.with_suffix(f".{format}")
    return path if path.suffix.lower() in FORMATS else path.with_suffix(".png")
