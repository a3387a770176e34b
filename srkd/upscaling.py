"""`srkd upscale`: photographs in, larger photographs out."""

import glob
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from srkd import backends
from srkd.backends import Backend, Device, Precision, open_upscaler, prefer
from srkd.catalog import find_weights, list_shipped
from srkd.errors import SrkdError, UsageError
from srkd.files import console, file_hash, progress
from srkd.images import (
    FORMATS,
    MEGAPIXELS,
    Format,
    Photo,
    check_suffix,
    is_hidden,
    list_images,
    measure,
    read_photo,
    to_bytes,
    write_photo,
)
from srkd.tiling import Part, Upscaler, average_flips, put

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
        backends.list_backends()
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
    settings = {"weights": "bicubic" if weights == "bicubic" else file_hash(find_weights(weights))}
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
    model = open_upscaler(
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
    model: Upscaler,
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


def enlarge(
    model: Upscaler,
    photo: Photo,
    kind: Format,
    scale: float | None = None,
    tile: int | None = None,
    advance: Callable[[float], None] = lambda pixels: None,
) -> Image.Image | np.ndarray:
    """Enlarges a photograph into a picture that `write_photo` takes.

    Tiles go straight into the picture, so that memory holds it once. Colours under full transparency, which
    would bleed into edges as dark fringes, are replaced by those of the nearest visible pixel; a format
    without transparency gets a white ground.

    Args:
        model: what enlarges.
        photo: the LR photograph.
        kind: the format's abilities.
        scale: result size over the photograph's; the model's when not given.
        tile: as for `Upscaler.parts`.
        advance: called with the LR pixels of each part that is done.

    Raises:
        SrkdError: the result is larger than the format allows, or memory does not suffice.
    """
    height, width = photo.pixels.shape[:2]
    scale = scale or model.scale
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if max(size) > kind.longest:
        raise SrkdError(
            f"would become {size[1]}x{size[0]}, and its format holds at most {kind.longest} pixels a side; "
            "choose another --format"
        )
    pixels, alpha = photo.pixels, photo.alpha
    if alpha is not None and not kind.alpha:
        pixels, alpha = _on_white(pixels, alpha), None
    if alpha is not None:
        pixels = _bleed(pixels, alpha)
    if not kind.deep:
        pixels, alpha = to_bytes(pixels), None if alpha is None else to_bytes(alpha)
    large = (height * model.scale, width * model.scale)
    picture = _blank(large, photo.gray, alpha is not None, pixels.dtype)
    share = 1 if alpha is None else 2
    for part in model.parts(pixels, tile):
        _place(picture, part._replace(values=_mean(part.values)) if photo.gray else part)
        advance(_area(part, model.scale) / share)
    if alpha is not None:
        plane = _blank(large, True, False, pixels.dtype)
        for part in _enlarge_alpha(model, alpha, tile):
            _place(plane, part)
            advance(_area(part, model.scale) / share)
        if isinstance(picture, Image.Image):
            picture.putalpha(plane)
        else:
            picture[..., -1] = plane[..., 0]
    return picture if size == large else _resize(picture, size)


def _upscale_file(
    job: _Job,
    model: Upscaler,
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


def _blank(size: tuple[int, int], gray: bool, alpha: bool, dtype: Any) -> Any:
    """A black picture: Pillow's for 8 bits, an array `(H, W, C)` for 16."""
    if dtype == np.uint8:
        return Image.new(("L" if gray else "RGB") + "A" * alpha, (size[1], size[0]))
    return np.zeros((*size, (1 if gray else 3) + alpha), dtype)


def _place(picture: Any, part: Part) -> None:
    if not isinstance(picture, Image.Image):
        put(picture[..., : part.values.shape[2]], part)
        return
    for rows, values, mask in part.strips():
        pixels = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        strip = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        shape = None if mask is None else Image.fromarray(np.rint(mask * 255).astype(np.uint8))
        picture.paste(strip.convert(picture.mode), (part.columns.start, rows.start), shape)


def _enlarge_alpha(model: Upscaler, alpha: np.ndarray, tile: int | None) -> Iterator[Part]:
    """Alpha as a gray image; kept between its neighbours, so that what is clear or opaque stays so."""
    from scipy.ndimage import maximum_filter, minimum_filter

    white = np.float32(np.iinfo(alpha.dtype).max)
    limits = [filtered(alpha, 3, mode="nearest") / white for filtered in (minimum_filter, maximum_filter)]
    factor = model.scale
    for part in model.parts(np.repeat(alpha[..., None], 3, axis=2), tile):
        place = tuple(slice(axis.start // factor, axis.stop // factor) for axis in (part.rows, part.columns))
        low, high = (limit[place].repeat(factor, 0).repeat(factor, 1)[..., None] for limit in limits)
        yield part._replace(values=_mean(part.values).clip(low, high))


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=2, keepdims=True)


def _area(part: Part, scale: int) -> float:
    """LR pixels that a part is, without what overlaps."""
    height, width = part.values.shape[:2]
    return (height - part.fade[0]) * (width - part.fade[1]) / scale**2


def _bleed(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives pixels that are fully transparent the colour of the nearest that is not."""
    from scipy.ndimage import distance_transform_edt

    clear = alpha == 0
    if not clear.any() or clear.all():
        return pixels
    nearest: Any = distance_transform_edt(clear, return_distances=False, return_indices=True)
    return pixels[nearest[0], nearest[1]]


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    white = np.iinfo(pixels.dtype).max
    share = alpha[..., None] / np.float32(white)
    return np.rint(pixels * share + white * (1 - share)).astype(pixels.dtype)


def _resize(picture: Any, size: tuple[int, int]) -> Any:
    """Resamples to the wanted size, antialiased; 16 bits by way of floats, a channel at a time."""
    target = (size[1], size[0])
    if isinstance(picture, Image.Image):
        return picture.resize(target, Image.Resampling.LANCZOS)
    result = np.empty((*size, picture.shape[2]), picture.dtype)
    for channel in range(picture.shape[2]):
        plane = Image.fromarray(picture[..., channel].astype(np.float32)).resize(
            target, Image.Resampling.LANCZOS
        )
        result[..., channel] = np.rint(np.asarray(plane).clip(0, 65535))
    return result


def _plan(inputs: Sequence[str], out: Path, format: str) -> tuple[list[_Job], Counter, bool]:
    """What becomes what; how many files of other kinds the folders hold, by suffix; and whether it is one
    image given by its name."""
    found: list[tuple[Path, Path]] = []
    others: Counter = Counter()
    folders = False
    for text in inputs:
        path = Path(text)
        # The function, since Path.glob takes no absolute patterns.
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207
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
