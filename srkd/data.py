"""Training and benchmark images: pairs of LR and HR, and batches of crops from them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from srkd import resample
from srkd.errors import SrkdError, UsageError
from srkd.files import console, track
from srkd.images import list_images, read_image
from srkd.metrics import crop_to_multiple

# Photographs that scikit-image installs with itself (most others it would download).
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
    """An image in both sizes: `lr` `(H, W, 3)` and `hr` `(scale*H, scale*W, 3)`, uint8."""

    name: str
    lr: np.ndarray
    hr: np.ndarray


def embedded_photos(names: Sequence[str]) -> list[Path]:
    """Paths of photographs that come with scikit-image."""
    spec = find_spec("skimage")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise SrkdError(
            f"this scikit-image has no {missing[0]}; mend: python -m pip install 'scikit-image==0.26.*'"
        )
    return [folder / name for name in names]


def find_pairs(data: str | Path) -> list[tuple[Path, Path | None]]:
    """The HR files of a data set and, where it has them, their LR files.

    Args:
        data: a folder of HR images; a folder with `HR` and `LR` inside, whose files carry equal names; or
            `embedded`, the photographs that scikit-image installs.

    Raises:
        UsageError: the folder is missing or empty, or an image has no counterpart.
    """
    if str(data) == "embedded":
        return [(path, None) for path in embedded_photos(EMBEDDED_TRAIN)]
    folder = Path(data)
    if not (folder / "HR").is_dir():
        if (folder / "LR").is_dir():
            raise UsageError(f"{folder} has an LR folder but no HR folder")
        return [(path, None) for path in list_images(folder)]
    if not (folder / "LR").is_dir():
        return [(path, None) for path in list_images(folder / "HR")]
    hr, lr = ({path.stem: path for path in list_images(folder / size)} for size in ("HR", "LR"))
    for stem in [*hr, *lr]:
        if stem not in hr or stem not in lr:
            side = "LR" if stem in hr else "HR"
            raise UsageError(f"{folder / side} has no image named {stem}, which the other folder has")
    return [(hr[stem], lr[stem]) for stem in hr]


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


def load_pairs(
    files: Sequence[tuple[Path, Path | None]], scale: int, smallest: int = 1, skip_bad: bool = False
) -> list[Pair]:
    """Reads many pairs into memory, on all cores.

    Args:
        files: as from `find_pairs`.
        scale: the super-resolution factor.
        smallest: the least side that HR images must have.
        skip_bad: leave out images that cannot be read or are too small, saying so, instead of failing.

    Raises:
        SrkdError, UsageError: as `read_pair`; and when an image is too small, or none is left.
    """

    def read(paths: tuple[Path, Path | None]) -> Pair | SrkdError:
        try:
            pair = read_pair(*paths, scale)
        except SrkdError as error:
            return error
        if min(pair.hr.shape[:2]) < smallest:
            size = f"{pair.hr.shape[1]}x{pair.hr.shape[0]}"
            return UsageError(f"{paths[0]} is {size}, smaller than a crop of {smallest}")
        return pair

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read_all = list(track(pool.map(read, files), f"reading {len(files)} images", len(files)))
    bad = [result for result in read_all if isinstance(result, SrkdError)]
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1} more like it)" if len(bad) > 1 else ""
        raise type(bad[0])(f"{bad[0]}{more}; remove it, or leave such images out with --skip_bad")
    for error in bad:
        console.print(f"[yellow]left out:[/] {error}")
    pairs = [result for result in read_all if isinstance(result, Pair)]
    if not pairs:
        raise UsageError("no image is left to work on")
    return pairs


def hold_out(files: Sequence[tuple[Path, Path | None]]) -> tuple[list, list]:
    """Splits files into training and validation: every 40th by name, beginning with the first."""
    if len(files) < 2:
        raise UsageError("one image cannot be split into training and validation; give --val a folder")
    held = list(files[::40])
    return [pair for pair in files if pair not in held], held


class Crops:
    """Batches of random aligned crops, flipped and transposed at random.

    A batch depends only on the seed and the step: a run that is resumed, or a control beside it, sees the
    same batches in the same order without any state to keep.

    Args:
        pairs: the images, each at least `crop` pixels high and wide at HR size.
        crop: side of the HR crops, a multiple of `scale`.
        batch: crops in a batch.
        scale: the super-resolution factor.
        seed: any integers; stages use their own so that they do not repeat one another's batches.
    """

    def __init__(self, pairs: Sequence[Pair], crop: int, batch: int, scale: int, seed: Sequence[int]):
        if crop % scale or crop < scale:
            raise UsageError(f"a crop of {crop} is not a multiple of the scale {scale}")
        for pair in pairs:
            if min(pair.hr.shape[:2]) < crop:
                size = f"{pair.hr.shape[1]}x{pair.hr.shape[0]}"
                raise UsageError(f"{pair.name} is {size}, smaller than a crop of {crop}; lower --crop")
        self.pairs, self.crop, self.batch, self.scale, self.seed = pairs, crop, batch, scale, list(seed)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The LR and HR crops of a step: `(batch, h, w, 3)` and `(batch, crop, crop, 3)`, uint8."""
        rng = np.random.default_rng([*self.seed, step])
        small = self.crop // self.scale
        lr = np.empty((self.batch, small, small, 3), np.uint8)
        hr = np.empty((self.batch, self.crop, self.crop, 3), np.uint8)
        for row in range(self.batch):
            pair = self.pairs[int(rng.integers(len(self.pairs)))]
            y, x = (int(rng.integers(side - small + 1)) for side in pair.lr.shape[:2])
            vertical, horizontal, transpose = rng.integers(2, size=3)
            for target, source, factor in ((lr, pair.lr, 1), (hr, pair.hr, self.scale)):
                side = small * factor
                cut = source[y * factor : y * factor + side, x * factor : x * factor + side]
                cut = cut[:: 1 - 2 * vertical, :: 1 - 2 * horizontal]
                target[row] = cut.swapaxes(0, 1) if transpose else cut
        return lr, hr
