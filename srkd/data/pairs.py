"""Finds and reads pairs of LR and HR images."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from srkd.data.beside import find_beside
from srkd.data.layouts import Part, choose_lr, find_layout, find_lr, match
from srkd.data.names import folder_scale, kind_of
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, hash_file
from srkd.images import resample
from srkd.images.folders import Found, find_images
from srkd.images.reading import read_image
from srkd.images.results import leave_out_results
from srkd.metrics.scores import crop_to_multiple
from srkd.remote import available
from srkd.terminal import note, say

# Photographs that scikit-image installs with itself (it downloads most others).
EMBEDDED_TRAIN = (
    "astronaut.png",
    "brick.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
EMBEDDED_TEST = ("camera.png", "chelsea.png", "coffee.png")


@dataclass(frozen=True)
class Pair:
    """An image in both sizes, `lr` `(H, W, 3)` and `hr` `(scale*H, scale*W, 3)`, uint8.

    Args:
        name: the HR file's name, behind its folder's where a data set has several.
        sha256: of the HR file's bytes, in hex digits; empty if it was not computed.
        targets: stored outputs of teachers, as large as `hr`, uint8, or float16 with 1 for white.
        full: height and width of the HR file, which `hr` was cut from; None where they are not known.
    """

    name: str
    lr: np.ndarray
    hr: np.ndarray
    sha256: str = ""
    targets: tuple[np.ndarray, ...] = ()
    full: tuple[int, int] | None = None


Source = tuple[Path, Path | None]  # an HR file, and its LR file where there is one


def embedded_photos(names: Sequence[str]) -> list[Path]:
    """Paths of photographs that come with scikit-image."""
    spec = find_spec("skimage")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise SrkdError(
            f"this scikit-image has no {missing[0]}; fix: python -m pip install 'scikit-image==0.26.*'"
        )
    return [folder / name for name in names]


def find_pairs(
    data: StrPath,
    scale: int = 4,
    lr: StrPath | None = None,
    skip_bad: bool | None = None,
    only_hr: bool = False,
) -> list[Source]:
    """The HR images of a data set and, where it has them, their LR images. Says what it found and left out.

    Args:
        data: a folder of HR images, in subfolders too; a folder with HR and LR folders inside, in the layouts
            that `srkd.data.layouts` knows; one with pairs side by side; or `embedded`, the photographs that
            scikit-image installs.
        scale: the super-resolution factor, by which LR folders are chosen.
        lr: the folder of LR images, when it does not lie inside `data`, or is one of several.
        skip_bad: leave out what cannot be reached, with a note, instead of failing; None where the user has
            no such choice.
        only_hr: do not look for LR images.

    Raises:
        UsageError: the folder is missing or empty, an image has no counterpart, or what belongs together is
            unclear.
        SrkdError: something in the folder cannot be reached.
    """
    if str(data) == "embedded":
        if lr is not None:
            raise UsageError("--lr goes with a folder of HR images, not with embedded")
        return [(path, None) for path in embedded_photos(EMBEDDED_TRAIN)]
    found = find_images(data)
    leave_out_results(found)
    files, where, origin = _sort(found, scale, lr, only_hr)
    found.check(skip_bad)
    count = f"{len(files)} HR image{'s' * (len(files) != 1)} in {where}"
    say(count if only_hr else f"{count}, {origin}")
    return files


def _sort(found: Found, scale: int, lr: StrPath | None, only_hr: bool) -> tuple[list[Source], Path, str]:
    """The sources among the images found, where HR lies, and where LR comes from in words."""
    layout = find_layout(found, scale)
    hr = layout.hr if layout else Part(found.root, found.images)
    if lr is not None:
        inside = find_images(lr)
        pairs, small = match(hr, part := find_lr(inside, scale)), part.folder
        inside.check()
        return list(pairs), hr.folder, f"LR from {small}"
    if layout is None:
        beside = find_beside(found, scale)
        if beside:
            return list(beside), found.root, f"LR beside them ({beside[0][1].name})"
    chosen = choose_lr(layout, found.root, scale) if layout and not only_hr else None
    if chosen:
        pairs, small = chosen
        return list(pairs), hr.folder, f"LR from {small.relative_to(found.root)}"
    if not only_hr:
        _point_to_lr(found.root)
    return [(path, None) for path in hr.images], hr.folder, "LR made by MATLAB's bicubic"


def _point_to_lr(folder: Path) -> None:
    """Says so where a folder's name, and those beside it, let one expect something else."""
    place = folder.resolve()
    inside = kind_of(place.parent.name) if folder_scale(place.name, True) else ""
    if "LR" in (kind_of(place.name), inside):
        note(f"{folder} is named as a folder of LR images, and is taken for HR")
    elif kind_of(place.name) == "HR":
        beside = [path.name for path in sorted(place.parent.iterdir()) if kind_of(path.name) == "LR"]
        if beside:
            note(f"beside {folder} are LR folders ({', '.join(beside)}), which --lr takes")


def list_sources(files: Sequence[Source], made: str = "bicubic") -> list[dict[str, str | None]]:
    """Prints the pairs, a line each, and returns their paths as `hr` and `lr`; `made` says how LR comes about
    that is no file."""
    for hr, lr in files:
        say(f"{hr} <- {lr or made}")
    return [{"hr": str(hr), "lr": None if lr is None else str(lr)} for hr, lr in files]


def name_images(files: Sequence[Source]) -> list[str]:
    """A name for each HR image: its file's, behind its folder's where they lie in several."""
    top = os.path.commonpath([hr.parent for hr, _ in files])
    return [hr.relative_to(top).as_posix() for hr, _ in files]


def read_pair(hr_path: Path, lr_path: Path | None, scale: int) -> Pair:
    """Reads a pair; LR is made by MATLAB's bicubic where there is no file, and HR cut to fit.

    Raises:
        SrkdError: a file cannot be read.
        UsageError: the sizes do not belong together at this scale, or the image is smaller than `scale`.
    """
    with available(hr_path):
        full = read_image(hr_path)
    hr = crop_to_multiple(full, scale)
    if 0 in hr.shape:
        raise UsageError(f"{hr_path} is {full.shape[1]}x{full.shape[0]}, too small for x{scale}")
    if lr_path is None:
        return Pair(hr_path.name, resample.downscale(hr, scale), hr, full=full.shape[:2])
    with available(lr_path):
        lr = read_image(lr_path)
    # A benchmark's LR may come from the uncut HR, one row or column more than the cut one has.
    expected = [(side // scale, -(-side // scale)) for side in full.shape[:2]]
    if any(side not in allowed for side, allowed in zip(lr.shape[:2], expected, strict=True)):
        raise UsageError(
            f"{lr_path} is {lr.shape[1]}x{lr.shape[0]}, not 1/{scale} of "
            f"{hr_path} ({full.shape[1]}x{full.shape[0]}); is the scale right?"
        )
    cut = lr[: hr.shape[0] // scale, : hr.shape[1] // scale]
    return Pair(hr_path.name, cut, hr, full=full.shape[:2])


def try_pair(source: Source, scale: int, smallest: int = 1) -> Pair | SrkdError:
    """A source's pair with its hash, or the error that reading it gave; arguments as of `iter_pairs`."""
    try:
        with available(source[0]):
            digest = hash_file(source[0])
        pair = read_pair(*source, scale)
        if min(pair.hr.shape[:2]) < smallest:
            size = f"{pair.hr.shape[1]}x{pair.hr.shape[0]}"
            return UsageError(f"{source[0]} is {size}, smaller than a crop of {smallest}")
        return replace(pair, sha256=digest)
    except SrkdError as error:
        return error
    except OSError as error:
        return SrkdError(f"{source[0]} cannot be read: {error.strerror}")


def iter_pairs(
    files: Sequence[Source], scale: int, smallest: int = 1
) -> Iterator[tuple[Source, Pair | SrkdError]]:
    """Reads pairs on all cores, in order, holding only a few at a time.

    Args:
        files: as from `find_pairs`.
        scale: the super-resolution factor.
        smallest: the least side that HR images must have.

    Yields:
        Each source with its pair, or with the error that reading it gave.
    """

    cores = os.cpu_count() or 1
    waiting: deque[tuple[Source, Future]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for source in files:
                waiting.append((source, pool.submit(try_pair, source, scale, smallest)))
                if len(waiting) > 2 * cores:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
