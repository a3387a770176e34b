"""`srkd upscale`: photographs in, larger photographs out."""

import glob
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file
from srkd.images.formats import FORMATS, MEGAPIXELS, check_suffix
from srkd.images.reading import is_hidden, list_images, measure, read_photo
from srkd.images.writing import write_photo
from srkd.runtimes.runner import Runner, average_flips
from srkd.terminal import console, progress
from srkd.upscaling.enlarge import enlarge
from srkd.upscaling.opening import Backend, Device, Precision, open_runner, prefer
from srkd.weights.catalogue import find_weights, list_shipped

# In an output folder: what was made of what, so that a job that was cut short goes on.
_JOURNAL = ".srkd-upscale.jsonl"


class _Job(NamedTuple):
    source: Path
    target: Path


def upscale(
    images: list[str] | str | None = None,
    out: str | None = None,
    *,
    weights: str | None = None,
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
    list_backends: bool = False,
) -> list[Path]:
    """Upscale images: files, globs, and folders with all that is in them.

    Depth (8 or 16 bit), gray, transparency, colour profile, EXIF and resolution are kept where the format
    holds them; EXIF's orientation is applied. Each output appears whole or not at all. A job into a folder
    that was cut short goes on when it is run again: what it made is not made twice. An image that fails does
    not stop the others.

    Args:
        images: image files, quoted globs, or folders, whose structure is kept.
        out: the file to write, or a folder (where names are kept).
        weights: a weights file or shipped name; the default shipped one when not given.
        scale: size of the output over that of the input; the weights' own when not given. Others are
            reached by resampling the network's output (Lanczos).
        format: of the files in a folder; `keep` is the input's (PNG for what cannot be written).
        quality: 1 to 100, of JPEG, WebP and AVIF.
        tta: average over the eight flips and rotations: eight times as long, a little better.
        tile: side of the tiles in LR pixels, which bounds the memory used; `auto` by the memory there is, 0
            for the whole image at once.
        backend: `onnxruntime`, `torch` or `openvino`; `auto` is torch on a GPU and ONNX Runtime on a CPU.
        device: where torch runs.
        precision: of torch: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA.
        threads: CPU threads; all cores when not given.
        megapixels: the largest image that is decoded.
        overwrite: replace files that exist.
        list_backends: list the backends, and do nothing else.

    Returns:
        The files written.

    Raises:
        UsageError: no such image, folder or weights, or an output that exists.
        SrkdError: some image could not be read or written; the others are done.
    """
    if list_backends:
        from srkd.commands.backends import list_backends as show

        show()
        return []
    if not images or out is None:
        raise UsageError("name the images to upscale, and with -o the file or folder to write")
    for name, value, fits in (
        ("tile", tile, tile == "auto" or tile >= 0),
        ("quality", quality, 1 <= quality <= 100),
        ("scale", scale, scale is None or 0 < scale <= 64),
        ("threads", threads, threads is None or threads > 0),
        ("megapixels", megapixels, megapixels > 0),
    ):
        if not fits:
            raise UsageError(f"--{name} {value} is out of range; see srkd upscale --help")
    if format != "keep" and f".{format}" not in FORMATS:
        raise UsageError(f"this installation's Pillow does not write {format}; choose another --format")
    target = Path(out)
    jobs, others, alone = _plan([images] if isinstance(images, str) else images, target, format)
    weights = weights or _default_weights()
    settings = {"weights": "bicubic" if weights == "bicubic" else hash_file(find_weights(weights), 16)}
    journal = _Journal(target, {**settings, "scale": scale, "quality": quality, "tta": tta})
    todo = jobs if overwrite or alone else [job for job in jobs if not journal.holds(job)]
    existing = [job.target for job in todo if job.target.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists; replace it with --overwrite, or choose another -o")
    if not todo:
        console.print(f"all {len(jobs)} images were upscaled before -> {target}", markup=False)
        return []
    if backend == "auto" and weights != "bicubic":
        backend = prefer(weights, device)
    model = open_runner(
        weights, device, max(1, round(scale or 4)), backend=backend, threads=threads, precision=precision
    )
    made, failures = [], []
    with progress("upscaling", sum(measure(job.source) for job in todo)) as advance:
        for job in todo:
            try:
                _upscale_file(
                    job,
                    average_flips(model) if tta else model,
                    scale or model.scale,
                    quality,
                    None if tile == "auto" else tile,
                    megapixels,
                    advance,
                )
            except SrkdError as error:
                if alone:
                    raise
                failures.append(str(error))
            else:
                made.append(job.target)
                if not alone:
                    journal.add(job)
    _report(made, jobs, todo, others, failures, scale or model.scale, model, target)
    return made


def _report(
    made: Sequence[Path],
    jobs: Sequence[_Job],
    todo: Sequence[_Job],
    others: Counter,
    failures: Sequence[str],
    scale: float,
    model: Runner,
    target: Path,
) -> None:
    said = (
        f"upscaled {len(made)} image{'s' * (len(made) != 1)} x{scale:g} with {model.name} ({model.runtime})"
    )
    if len(todo) < len(jobs):
        said += f", {len(jobs) - len(todo)} were done before"
    if others:
        kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(others.items()))
        said += f", passed over files of other kinds ({kinds})"
    console.print(f"{said} -> {target}", markup=False)
    if failures:
        told = "; ".join(failures)
        if len(failures) > 3:
            told = "see the lines above"
            for failure in failures:
                console.print(f"failed: {failure}", markup=False)
        raise SrkdError(f"{len(failures)} of {len(todo)} images failed: {told}; the others are done")


def _upscale_file(
    job: _Job,
    model: Runner,
    scale: float,
    quality: int,
    tile: int | None,
    megapixels: float,
    advance: Callable[[float], None],
) -> None:
    photo = read_photo(job.source, megapixels)
    kind = FORMATS[job.target.suffix.lower()]
    try:
        picture = enlarge(model, photo, kind, scale, tile, advance)
    except SrkdError as error:
        raise SrkdError(f"{job.source}: {error}") from error
    except MemoryError as error:
        raise SrkdError(f"{job.source}, enlarged, does not fit into memory") from error
    if isinstance(picture, np.ndarray) and picture.shape[-1] == 1:
        picture = picture[..., 0]
    # Without its pixels, whose memory the encoder may need.
    write_photo(job.target, picture, replace(photo, pixels=photo.pixels[:0], alpha=None), quality)


def _plan(inputs: Sequence[str], out: Path, format: str) -> tuple[list[_Job], Counter, bool]:
    """What becomes what; how many files of other kinds the folders hold, by suffix; and whether it is one
    image given by its name."""
    found: list[tuple[Path, Path]] = []
    others: Counter = Counter()
    folders = False
    for text in inputs:
        path = Path(text)
        # The function, since Path.glob takes no absolute patterns.
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207  # Path.glob takes no absolute patterns
        if not matches:
            what = "no images match" if glob.has_magic(text) else "there is no image or folder"
            raise UsageError(f"{what} {text}")
        for match in matches:
            if match.is_dir():
                folders = True
                inside = [
                    p for p in list_images(match, recursive=True) if out.resolve() not in p.resolve().parents
                ]
                found += [(p, p.relative_to(match)) for p in inside]
                others += _count_others(match)
            else:
                found.append((match, Path(match.name)))
    if not found:
        raise UsageError(f"no images to upscale in {', '.join(inputs)}")
    alone = not folders and len(found) == 1
    to_file = out.suffix != "" and not out.is_dir()
    if alone and to_file:
        check_suffix(out)
        if out.resolve() == found[0][0].resolve():
            raise UsageError(f"{out} is the image to upscale; give another -o")
        return [_Job(found[0][0], out)], others, alone
    if out.is_file() or (to_file and out.suffix.lower() in FORMATS):
        raise UsageError(f"several images do not go into the file {out}; give -o a folder")
    jobs = [_Job(source, out / _rename(relative, format)) for source, relative in dict(found).items()]
    taken: dict[Path, Path] = {}
    for job in jobs:
        other = taken.setdefault(job.target, job.source)
        if other is not job.source:
            raise UsageError(f"{other} and {job.source} would both become {job.target}; rename one of them")
        if job.target.resolve() == job.source.resolve():
            raise UsageError(f"{job.source} would replace itself; give another -o")
    return jobs, others, alone


def _count_others(folder: Path) -> Counter:
    paths = (p for p in folder.rglob("*") if p.is_file() and not is_hidden(p, folder))
    return Counter(p.suffix.lower() for p in paths if p.suffix.lower() not in FORMATS)


def _rename(path: Path, format: str) -> Path:
    if format != "keep":
        return path.with_suffix(f".{format}")
    return path if path.suffix.lower() in FORMATS else path.with_suffix(".png")


class _Journal:
    """What a folder's outputs were made of: a line each, with the source's size and time of change."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        self.folder, self.settings = folder, settings
        self.path = folder / _JOURNAL
        self.made: dict[str, dict[str, Any]] = {}
        # What is written after a line that a kill cut short begins on a line of its own.
        self.cut = ""
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8", errors="replace")
            self.cut = "" if text.endswith("\n") else "\n"
            for line in text.splitlines():
                try:
                    entry = json.loads(line)
                    self.made[entry["target"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    def holds(self, job: _Job) -> bool:
        """Whether the target is there, made of this source with these settings."""
        return job.target.is_file() and self.made.get(self._name(job)) == self._entry(job)

    def add(self, job: _Job) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self.cut + json.dumps(self._entry(job)) + "\n")
        self.cut = ""

    def _name(self, job: _Job) -> str:
        return job.target.relative_to(self.folder).as_posix()

    def _entry(self, job: _Job) -> dict[str, Any]:
        facts = job.source.stat()
        source = {"size": facts.st_size, "changed": facts.st_mtime_ns}
        return {"target": self._name(job), "source": source, "settings": self.settings}


def _default_weights() -> str:
    for name, entry in list_shipped().items():
        if entry.get("default"):
            return name
    raise UsageError("no default weights are installed; give --weights FILE (srkd quickstart makes some)")
