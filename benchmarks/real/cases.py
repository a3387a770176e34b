"""What is enlarged: held-out photographs degraded with fixed seeds, rendered pages and screenshots, and real
low-quality pictures, which have no HR."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.real.render import render_page, render_screen
from benchmarks.runtimes import SCALE
from srkd.data.degrade import draw_lr, draw_rng
from srkd.data.sets import read_hash_list
from srkd.degradation import make_degradation
from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.resample import downscale
from srkd.metrics.scores import crop_to_multiple

# Sides of the LR pictures, in pixels: the teacher takes seconds for a larger one, and NIQE needs two blocks.
LARGEST, SMALLEST = 160, 48
# How LR is made; None is bicubic. A scanner's light blur, sensor noise and JPEG are a camera's, always saved.
KINDS: dict[str, Any] = {
    "real": "real",
    "web": "web",
    "camera": "camera",
    "clean": None,
    "scan": {"preset": "camera", "blur_sigma": [0.2, 0.8], "jpeg_prob2": 1.0, "jpeg_range2": [60, 90]},
    "screenshot": None,
}
# Kinds whose HR is rendered, by number.
RENDERED = {"scan": render_page, "screenshot": render_screen}


class Source(NamedTuple):
    """An HR picture `(H, W, 3)` uint8; `sha256` decides its degradations."""

    name: str
    hr: np.ndarray
    sha256: str


class Case(NamedTuple):
    """An LR picture with its HR, if there is one, and what was done to make it."""

    kind: str
    name: str
    draw: int
    lr: np.ndarray
    hr: np.ndarray | None
    steps: str


def read_photos(data: Path, listed: Path | None) -> list[Source]:
    """The photographs of a folder, by name; with a list as `sha256sum` writes it, those of the list alone.

    Raises:
        UsageError: none, or fewer than the list has.
    """
    paths = list_images(data)
    if listed is not None:
        wanted = {sha256 for _, sha256 in read_hash_list(listed)}
        found = {hash_file(path): path for path in paths}
        missing = wanted - found.keys()
        if missing:
            raise UsageError(f"{data} has {len(wanted) - len(missing)} of the {len(wanted)} of {listed}")
        paths = sorted(found[sha256] for sha256 in wanted)
    if not paths:
        raise UsageError(f"{data} holds no images")
    return [Source(path.name, cut(read_image(path), path), hash_file(path)) for path in paths]


def cut(image: np.ndarray, path: Path, scale: int = SCALE) -> np.ndarray:
    """The middle of a picture, at most LARGEST LR pixels wide and high.

    Raises:
        UsageError: the picture is smaller than SMALLEST.
    """
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST * scale:
        least = SMALLEST * scale
        raise UsageError(f"{path} is {width}x{height}; pictures need {least}x{least} pixels at least")
    top, left = (max(0, side - LARGEST * scale) // 2 for side in (height, width))
    part = image[top : top + LARGEST * scale, left : left + LARGEST * scale]
    return np.ascontiguousarray(crop_to_multiple(part, scale))


def render(kind: str, count: int) -> list[Source]:
    """Pictures of a rendered kind."""
    found = []
    for number in range(count):
        hr = cut(RENDERED[kind](number), Path(f"{kind}_{number}"))
        found.append(Source(f"{kind}_{number}", hr, hashlib.sha256(hr.tobytes()).hexdigest()))
    return found


def degrade(source: Source, kind: str, draw: int, seed: int) -> Case:
    """A picture's draw of a kind."""
    mix = None if KINDS[kind] is None else make_degradation(KINDS[kind])
    lr, steps = downscale(source.hr, SCALE), ["bicubic"]
    if mix is not None:
        steps = []
        lr = draw_lr(lr, source.hr, draw_rng(seed, source.sha256, draw), mix, steps.append)
    return Case(kind, source.name, draw, lr, source.hr, ", ".join(steps))


def make_cases(sources: Sequence[Source], kinds: Sequence[str], draws: int, seed: int) -> Iterator[Case]:
    """Every draw of every picture; bicubic has one, since all would be the same."""
    for source in sources:
        for kind in kinds:
            for draw in range(draws if KINDS[kind] is not None else 1):
                yield degrade(source, kind, draw, seed)


def read_real(folder: Path) -> list[Case]:
    """Low-quality pictures as they are, their middles where they are larger."""
    paths = list_images(folder)
    if not paths:
        raise UsageError(f"{folder} holds no images")
    return [Case("real picture", path.name, 0, cut(read_image(path), path, 1), None, "") for path in paths]
