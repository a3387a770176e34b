"""Finds and reads pairs of LR and HR images."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, hash_file
from srkd.images import resample
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.metrics.scores import crop_to_multiple

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
        name: the HR file's name.
        sha256: of the HR file's bytes, in hex digits; empty if it was not computed.
        targets: stored outputs of teachers, as large as `hr`, uint8, or float16 with 1 for white.
    """

    name: str
    lr: np.ndarray
    hr: np.ndarray
    sha256: str = ""
    targets: tuple[np.ndarray, ...] = ()


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


def find_pairs(data: StrPath, scale: int = 4, lr: StrPath | None = None) -> list[Source]:
    """The HR files of a data set and, where it has them, their LR files.

    Args:
        data: a folder of HR images; a folder with `HR` and `LR` inside; one laid out as DIV2K is
            (`DIV2K_train_HR/0001.png`, `DIV2K_train_LR_bicubic/X4/0001x4.png`); or `embedded`, the
            photographs that scikit-image installs.
        scale: which of DIV2K's LR folders to take.
        lr: the folder of LR images, when it does not lie inside `data`.

    Raises:
        UsageError: the folder is missing or empty, or an image has no counterpart.
    """
    if str(data) == "embedded":
        return [(path, None) for path in embedded_photos(EMBEDDED_TRAIN)]
    folder = Path(data)
    hr, inside = _inner_folders(folder, scale)
    lr_folder = Path(lr) if lr is not None else inside
    images = list_images(hr)
    if lr_folder is None:
        return [(path, None) for path in images]
    # DIV2K's LR files carry their scale at the end of the name.
    small = {path.stem.removesuffix(f"x{scale}"): path for path in list_images(lr_folder)}
    stems = {path.stem: path for path in images}
    for stem in [*stems, *small]:
        if stem not in stems or stem not in small:
            without = lr_folder if stem in stems else hr
            raise UsageError(f"{without} has no image named {stem}, which the other folder has")
    return [(path, small[stem]) for stem, path in stems.items()]


def _inner_folders(folder: Path, scale: int) -> tuple[Path, Path | None]:
    """The HR folder in a data set's, and the LR folder where there is one."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    large = [path for path in inner if path.name == "HR" or path.name.endswith("_HR")]
    small = [path for path in inner if path.name == "LR" or path.name.endswith("_LR_bicubic")]
    if not large:
        if small:
            raise UsageError(f"{folder} has an LR folder but no HR folder")
        return folder, None
    if len(large) > 1 or len(small) > 1:
        names = ", ".join(path.name for path in (large if len(large) > 1 else small))
        raise UsageError(f"{folder} holds several data sets ({names}); name one of the folders")
    if small and (small[0] / f"X{scale}").is_dir():
        return large[0], small[0] / f"X{scale}"
    return large[0], small[0] if small else None


def read_pair(hr_path: Path, lr_path: Path | None, scale: int) -> Pair:
    """Reads a pair; LR is made by MATLAB's bicubic where there is no file, and HR cut to fit.

    Raises:
        SrkdError: a file cannot be read.
        UsageError: the sizes do not belong together at this scale, or the image is smaller than `scale`.
    """
    full = read_image(hr_path)
    hr = crop_to_multiple(full, scale)
    if 0 in hr.shape:
        raise UsageError(f"{hr_path} is {full.shape[1]}x{full.shape[0]}, too small for x{scale}")
    if lr_path is None:
        return Pair(hr_path.name, resample.downscale(hr, scale), hr)
    lr = read_image(lr_path)
    # A benchmark's LR may come from the uncut HR, one row or column more than the cut one has.
    expected = [(side // scale, -(-side // scale)) for side in full.shape[:2]]
    if any(side not in allowed for side, allowed in zip(lr.shape[:2], expected, strict=True)):
        raise UsageError(
            f"{lr_path} is {lr.shape[1]}x{lr.shape[0]}, not 1/{scale} of its HR image "
            f"({full.shape[1]}x{full.shape[0]}); is the scale right?"
        )
    return Pair(hr_path.name, lr[: hr.shape[0] // scale, : hr.shape[1] // scale], hr)


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

    def read(source: Source) -> Pair | SrkdError:
        try:
            pair = read_pair(*source, scale)
            if min(pair.hr.shape[:2]) < smallest:
                size = f"{pair.hr.shape[1]}x{pair.hr.shape[0]}"
                return UsageError(f"{source[0]} is {size}, smaller than a crop of {smallest}")
            return replace(pair, sha256=hash_file(source[0]))
        except SrkdError as error:
            return error
        except OSError as error:
            return SrkdError(f"{source[0]} cannot be read: {error.strerror}")

    cores = os.cpu_count() or 1
    waiting: deque[tuple[Source, Future]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for source in files:
                waiting.append((source, pool.submit(read, source)))
                if len(waiting) > 2 * cores:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
