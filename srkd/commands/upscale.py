"""`srkd upscale`: photographs in, larger photographs out."""

import glob
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, check_path, describe_type, hash_file
from srkd.images.formats import FORMATS, MEGAPIXELS, check_suffix
from srkd.images.reading import is_hidden, list_images, measure
from srkd.runtimes.runner import Runner, average_flips
from srkd.terminal import Progress, reports, say
from srkd.terminal import progress as progress_of
from srkd.upscaling.enlarge import enlarge_file
from srkd.upscaling.journal import Job, Journal
from srkd.upscaling.limits import check_options
from srkd.upscaling.opening import BICUBIC, Backend, Device, Precision, default_weights, open_fastest
from srkd.weights.catalogue import find_weights


class _Plan(NamedTuple):
    """What becomes what.

    Args:
        jobs: the images and their outputs.
        others: how many files of other kinds the folders hold, by suffix.
        alone: whether it is one image given by its name.
    """

    jobs: list[Job]
    others: Counter[str]
    alone: bool


@reports
def upscale(
    images: Sequence[StrPath] | StrPath,
    out: StrPath,
    *,
    weights: StrPath | None = None,
    scale: float | None = None,
    format: Literal["keep", "png", "jpg", "webp", "tiff", "bmp", "avif"] = "keep",
    quality: int = 95,
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
    """Upscale images: files, globs, and folders with everything in them.

    Depth (8 or 16 bit), gray, transparency, colour profile, EXIF and resolution are kept where the format
    holds them; EXIF's orientation is applied. Each output appears whole or not at all. A job into a folder
    resumes when it is run again: images that are done are not done twice. An image that fails does not stop
    the others.

    Args:
        images: image files, quoted globs, or folders, whose structure is kept.
        out: the file to write, or a folder (where names are kept).
        weights: a weights file or shipped name, or `bicubic`; the default shipped one when not given.
        scale: size of the output over that of the input; the weights' own when not given. Others are
            reached by resampling the network's output (Lanczos).
        format: of the files in a folder; `keep` is the input's (PNG where that cannot be written).
        quality: 1 to 100, of JPEG, WebP and AVIF.
        tta: average over the eight flips and rotations, which takes eight times as long and is slightly
            better.
        tile: side of the tiles in LR pixels, which bounds the memory used; `auto` chooses it by free memory,
            0 takes the whole image at once.
        backend: `onnxruntime`, `torch` or `openvino`; `auto` is torch on a GPU and ONNX Runtime on a CPU.
        device: where torch runs.
        precision: of torch: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA.
        threads: CPU threads; all cores when not given.
        megapixels: images whose header declares more megapixels are rejected.
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
    check_options(tile=side, quality=quality, scale=scale, threads=threads, megapixels=megapixels)
    if format != "keep" and f".{format}" not in FORMATS:
        raise UsageError(f"this installation's Pillow does not write {format}; choose another --format")
    check_path("out", out)
    target = Path(out)
    plan = _plan(_check_inputs(images), target, format)
    weights = weights or default_weights()
    check_path("weights", weights)
    settings = {"scale": scale, "quality": quality, "tta": bool(tta)}
    journal = Journal(target, {"weights": _identify(weights), **settings})
    todo = _leave_out_done(plan, journal, overwrite)
    if not todo:
        say(f"all {len(plan.jobs)} images were upscaled before -> {target}")
        return []
    model = open_fastest(weights, scale, backend=backend, device=device, precision=precision, threads=threads)
    runner = average_flips(model) if tta else model
    made, failures = [], []
    with progress_of("upscaling", sum(measure(job.source) for job in todo)) as advance:
        for job in todo:
            try:
                enlarge_file(
                    runner,
                    *job,
                    scale or model.scale,
                    quality=quality,
                    tile=side,
                    megapixels=megapixels,
                    advance=advance,
                )
            except SrkdError as error:
                if plan.alone:
                    raise
                failures.append(str(error))
            else:
                made.append(job.target)
                if not plan.alone:
                    journal.add(job)
    say(f"{_summarise(plan, len(todo), len(made), scale or model.scale, model)} -> {target}")
    _complain(failures, len(todo))
    return made


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


def _identify(weights: StrPath) -> str:
    return BICUBIC if str(weights) == BICUBIC else hash_file(find_weights(weights), 16)


def _leave_out_done(plan: _Plan, journal: Journal, overwrite: bool) -> list[Job]:
    """The jobs that are not done.

    Raises:
        UsageError: the output of one exists.
    """
    todo = plan.jobs if overwrite or plan.alone else [job for job in plan.jobs if not journal.holds(job)]
    existing = [job.target for job in todo if job.target.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another -o")
    return todo


def _summarise(plan: _Plan, tried: int, made: int, scale: float, model: Runner) -> str:
    said = f"upscaled {made} image{'s' * (made != 1)} x{scale:g} with {model.name} ({model.runtime})"
    if tried < len(plan.jobs):
        said += f", {len(plan.jobs) - tried} were done before"
    if plan.others:
        kinds = (f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(plan.others.items()))
        said += f", skipped files of other kinds ({', '.join(kinds)})"
    return said


def _complain(failures: Sequence[str], tried: int) -> None:
    """Raises SrkdError where some images failed; many are listed in lines of their own."""
    if not failures:
        return
    told = "; ".join(failures)
    if len(failures) > 3:
        told = "see the lines above"
        for failure in failures:
            say(f"failed: {failure}")
    raise SrkdError(f"{len(failures)} of {tried} images failed: {told}; the others are done")


def _plan(inputs: Sequence[str], out: Path, format: str) -> _Plan:
    """Finds the images and names their outputs.

    Raises:
        UsageError: there are none, or outputs that would replace inputs or one another.
    """
    found, others, folders = _find(inputs, out)
    if not found:
        raise UsageError(f"no images to upscale in {', '.join(inputs)}")
    alone = not folders and len(found) == 1
    to_file = out.suffix != "" and not out.is_dir()
    if alone and to_file:
        check_suffix(out)
        if out.resolve() == found[0][0].resolve():
            raise UsageError(f"{out} is the image to upscale; give another -o")
        return _Plan([Job(found[0][0], out)], others, alone)
    if out.is_file() or (to_file and out.suffix.lower() in FORMATS):
        raise UsageError(f"several images do not fit into the file {out}; give -o a folder")
    jobs = [Job(source, out / _rename(relative, format)) for source, relative in dict(found).items()]
    _check_targets(jobs)
    return _Plan(jobs, others, alone)


def _find(inputs: Sequence[str], out: Path) -> tuple[list[tuple[Path, Path]], Counter[str], bool]:
    """The images, each with its path inside the output; the files of other kinds; whether there are folders.
    What an earlier job wrote into a folder inside the input is no input."""
    found: list[tuple[Path, Path]] = []
    others: Counter[str] = Counter()
    folders = False
    for text in inputs:
        for match in _match(text):
            if match.is_dir():
                folders = True
                inside = list_images(match, recursive=True)
                inside = [p for p in inside if out.resolve() not in p.resolve().parents]
                found += [(p, p.relative_to(match)) for p in inside]
                others += _count_others(match)
            else:
                found.append((match, Path(match.name)))
    return found, others, folders


def _match(text: str) -> list[Path]:
    """The paths that a path or glob names."""
    path = Path(text)
    if path.exists():
        return [path]
    matches = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207  # Path.glob takes no absolute patterns
    if not matches:
        what = "no images match" if glob.has_magic(text) else "there is no image or folder"
        raise UsageError(f"{what} {text}")
    return matches


def _check_targets(jobs: Sequence[Job]) -> None:
    # Windows and macOS take IMG.png and img.png for one file.
    fold = str.casefold if sys.platform in ("win32", "darwin") else str
    taken: dict[str, Path] = {}
    for job in jobs:
        other = taken.setdefault(fold(str(job.target)), job.source)
        if other is not job.source:
            raise UsageError(f"{other} and {job.source} would both become {job.target}; rename one of them")
        if job.target.resolve() == job.source.resolve():
            raise UsageError(f"{job.source} would replace itself; give another -o")


def _count_others(folder: Path) -> Counter[str]:
    paths = (p for p in folder.rglob("*") if p.is_file() and not is_hidden(p, folder))
    return Counter(p.suffix.lower() for p in paths if p.suffix.lower() not in FORMATS)


def _rename(path: Path, format: str) -> Path:
    if format != "keep":
        return path.with_suffix(f".{format}")
    return path if path.suffix.lower() in FORMATS else path.with_suffix(".png")
