"""The photographs of `srkd compress`: held-out ones, and crops to train on, as many as the teacher has time
for."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from srkd.commands.compressing.teacher import cut
from srkd.data import EMBEDDED_TEST, Pair, embedded_photos, find_pairs
from srkd.data.packed import HR, LR, MANIFEST, is_packed, stored_teachers
from srkd.data.pairs import Source, iter_pairs
from srkd.degradation import Degradation
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath
from srkd.terminal import note, say, track

# The fewest photographs, and how many are few.
LEAST, FEW = 8, 50
# Held-out photographs: at most so many, and the side of their windows in LR pixels.
HELD, HELD_SIDE = 10, 96
# Those of the embedded photographs: an interval over three would tell nothing.
HELD_EMBEDDED = (*EMBEDDED_TEST, "coins.png", "rocket.jpg")
# Crops: their side in LR pixels, the most of them, and the fewest.
CROP_SIDE, MOST, FEWEST = 64, 4000, 24
# The least side of a photograph, in HR pixels.
SMALLEST = 96


def split_photographs(data: StrPath, scale: int, val: StrPath | None) -> tuple[list[Source], list[Source]]:
    """The photographs to train on, and those held out.

    Raises:
        UsageError: there are too few, or they are packed.
    """
    if is_packed(data):
        raise UsageError(f"{data} is a packed data set; give the folder of photographs that it was made from")
    files = find_pairs(data, scale)
    held: list[Source] = []
    if val is not None:
        held = find_pairs(val, scale)
        apart = {path.resolve() for path, _ in held}
        train = [source for source in files if source[0].resolve() not in apart]
    elif str(data) == "embedded":
        train = [source for source in files if source[0].name not in HELD_EMBEDDED]
        held += [(path, None) for path in embedded_photos(HELD_EMBEDDED)]
    else:
        count = max(2, min(HELD, len(files) // 8))
        chosen = {round((k + 0.5) * len(files) / count - 0.5) for k in range(count)}
        train = [source for k, source in enumerate(files) if k not in chosen]
        held = [source for k, source in enumerate(files) if k in chosen]
    if len(files) < LEAST or not train or not held:
        raise UsageError(
            f"{len(files)} photograph{'s' * (len(files) != 1)} in {data} are too few: training takes at "
            f"least "
            f"{LEAST}, and is better with hundreds"
        )
    if len(files) < FEW:
        note(f"{len(train)} photographs to train on are few; a student of hundreds is better on others")
    return train, held[:HELD] if val is None else held


def describe_files(files: Sequence[Source]) -> list[Any]:
    """What tells a set of photographs from another: their number, and a hash of names, sizes and times of
    change."""
    found = hashlib.sha256()
    for pair in files:
        for path in pair:
            if path is not None:
                state = path.stat()
                found.update(
                    f"{path.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(errors="surrogateescape")
                )
    return [len(files), found.hexdigest()[:16]]


def read_windows(files: Sequence[Source], scale: int, side: int = HELD_SIDE) -> list[Pair]:
    """The busiest window of each photograph, at most so many LR pixels wide and high; its `sha256` is of the
    photograph's file.

    Raises:
        SrkdError: a photograph cannot be read, or none is large enough.
    """
    from srkd.commands.compressing.teacher import cut_windows

    found = []
    for (hr, _), pair in iter_pairs(files, scale):
        if isinstance(pair, SrkdError):
            raise pair
        if min(pair.hr.shape[:2]) < SMALLEST:
            note(f"{hr} is smaller than {SMALLEST} pixels", "left out")
            continue
        found += cut_windows([pair], scale, 1, side)
    if not found:
        raise SrkdError(f"no held-out photograph has {SMALLEST} pixels on each side")
    return found


def write_held(windows: Sequence[Pair], folder: Path, mix: Degradation | None) -> int:
    """Writes the held-out windows as `HR/` and `LR/`, LR degraded by fixed draws where training degrades it.
    Returns how many."""
    from srkd.data.degrade import draw_lr, draw_rng

    for number, pair in enumerate(windows):
        lr = pair.lr
        if mix is not None:
            # Of what is restored, not of what was clean.
            lr = draw_lr(lr, pair.hr, draw_rng(1, pair.sha256, number), replace(mix, clean=0.0))
        name = f"{number:03d}.png"
        _write(folder / "HR" / name, pair.hr)
        _write(folder / "LR" / name, lr)
    return len(windows)


def list_outputs(folder: Path, held: int) -> list[Path]:
    """What `write_held`, `write_crops` and packing leave in a step's folder, and later steps read."""
    windows = [
        folder / "held" / side / f"{number:03d}.png" for side in ("HR", "LR") for number in range(held)
    ]
    return [*windows, folder / "crops", *_list_packed(folder / "packed")]


def drop_incomplete(folder: Path) -> None:
    """Removes a packed set that was whole and has lost a file; one that is not finished goes on."""
    if (folder / MANIFEST).is_file() and not all(path.is_file() for path in _list_packed(folder)):
        shutil.rmtree(folder)


def _list_packed(folder: Path) -> list[Path]:
    if not (folder / MANIFEST).is_file():
        return [folder / MANIFEST]
    return [folder / name for name in (HR, LR, *stored_teachers(folder).values())]


def plan_crops(files: int, pixels: int, scale: int, seconds: float, each: float) -> int:
    """How many crops to train on.

    Args:
        files: photographs.
        pixels: of a photograph, in HR.
        scale: the super-resolution factor.
        seconds: that the teacher may take for all.
        each: that it takes for an LR pixel.
    """
    area = CROP_SIDE**2
    fitting = max(1, pixels // (area * scale**2))
    affordable = int(seconds / (each * area))
    return max(FEWEST, min(MOST, affordable, files * fitting))


def write_crops(files: Sequence[Source], folder: Path, scale: int, count: int, seed: int) -> int:
    """Writes random crops of the photographs, as many of each to one; where there are fewer crops than
    photographs, of some of them, evenly spaced. Those that are there are not written again. Photographs that
    cannot be read are left out, with a note. Returns how many crops there are."""
    written, failed = 0, 0
    paired = files[0][1] is not None
    for number, (_, pair) in enumerate(
        track(iter_pairs(files, scale, SMALLEST), "cutting crops", len(files))
    ):
        share = (number + 1) * count // len(files) - number * count // len(files)
        if isinstance(pair, SrkdError):
            note(str(pair), "left out")
            failed += 1
            continue
        rng = np.random.default_rng([seed, number])
        for k in range(share):
            name = f"{number:05d}_{k}.png"
            crop = _random_crop(pair, scale, rng)
            written += 1
            if paired:
                _write(folder / "LR" / name, crop.lr)
            _write(folder / "HR" / name if paired else folder / name, crop.hr)
    if failed:
        say(f"{failed} of {len(files)} photographs were left out")
    if written == 0:
        raise SrkdError("no photograph can be used; the lines above say why")
    return written


def _random_crop(pair: Pair, scale: int, rng: np.random.Generator) -> Pair:
    edge = min(CROP_SIDE * scale, *(side - side % scale for side in pair.hr.shape[:2]))
    top, left = (int(rng.integers(0, (side - edge) // scale + 1)) * scale for side in pair.hr.shape[:2])
    return cut(pair, top, left, edge, scale)


def _write(path: Path, image: np.ndarray) -> None:
    from srkd.images.writing import write_image

    if not path.exists():
        write_image(path, image)


def typical_pixels(files: Sequence[Source]) -> int:
    """The number of pixels of a photograph, the median over a few."""
    from PIL import Image

    found = []
    for path, _ in files[:: max(1, len(files) // 9)]:
        try:
            with Image.open(path) as image:
                found.append(image.width * image.height)
        except OSError:  # cutting says so
            continue
    return int(np.median(found)) if found else SMALLEST**2
