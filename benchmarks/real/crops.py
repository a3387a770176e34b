"""Cuts photographs into crops to train on, and the middles of held-out ones.

    python benchmarks/real/crops.py PHOTOS CROPS [--held-out benchmarks/validation.sha256] [--count 1200]

Whole and halved photographs, large ones more often, at random places; crops that are nearly flat are left
out. CROPS gets `train` and, with `--held-out`, `held`, the middles of those photographs. Nothing is
overwritten.
"""

import random
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, check_file, check_folder, make_parser, run_script
from benchmarks.middle import cut as cut_middle
from srkd.data.sets import read_hash_list
from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.writing import write_image
from srkd.terminal import console, progress

# Of the held-out middles; the least deviation of gray levels; the most crops of a photograph at one size.
MIDDLE, FLAT, MOST = 256, 12.0, 7


def plan(paths: Sequence[Path], side: int, rng: random.Random) -> list[tuple[Path, int]]:
    """Photographs and what to divide their size by, in random order."""
    found = []
    for path in paths:
        height, width = read_image(path).shape[:2]
        for divisor in (1, 2):
            if min(height // divisor, width // divisor) >= side:
                share = 0.6 * (height // divisor) * (width // divisor) / side**2
                found += [(path, divisor)] * max(1, min(MOST, round(share)))
    rng.shuffle(found)
    return found


def cut(path: Path, divisor: int, side: int, rng: random.Random) -> np.ndarray:
    """A crop `(side, side, 3)` at a random place."""
    image = Image.fromarray(read_image(path))
    if divisor > 1:
        image = image.resize((image.width // divisor, image.height // divisor), Image.Resampling.LANCZOS)
    left, top = rng.randrange(image.width - side + 1), rng.randrange(image.height - side + 1)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def is_flat(crop: np.ndarray) -> bool:
    return float(np.asarray(Image.fromarray(crop).convert("L"), float).std()) < FLAT


def work(arguments: Namespace) -> None:
    out, side = arguments.out, arguments.side
    check_folder("PHOTOS", arguments.photos)
    check_file("--held-out", arguments.held_out)
    check_at_least(32, side=side)
    check_at_least(1, count=arguments.count)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder; give another")
    paths = list_images(arguments.photos)
    held = {sha256 for _, sha256 in read_hash_list(arguments.held_out)} if arguments.held_out else set()
    kept = [path for path in paths if hash_file(path) in held]
    rng = random.Random(arguments.seed)
    wanted = plan([path for path in paths if path not in kept], side, rng)
    if not wanted:
        raise UsageError(f"no photograph of {arguments.photos} has {side}x{side} pixels")
    count = 0
    with progress("cutting", arguments.count) as advance:
        for path, divisor in wanted:
            if count == arguments.count:
                break
            crop = cut(path, divisor, side, rng)
            if not is_flat(crop):
                write_image(out / "train" / f"{count:04d}_{path.stem}_{divisor}.png", crop)
                count += 1
                advance(1)
    # With the suffix, which alone may tell two photographs apart.
    for path in kept:
        write_image(out / "held" / f"{path.name.replace('.', '_')}.png", cut_middle(read_image(path), MIDDLE))
    fewer = "" if count == arguments.count else f", of {arguments.count} wanted: the photographs have no more"
    console.print(f"{count} crops{fewer}, {len(kept)} held out -> {out}", markup=False)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("photos", type=Path, help="folder of photographs")
    add("out", type=Path, help="folder for the crops, new or empty")
    add("--held-out", type=Path, help="photographs that are not to be trained on, as `sha256sum` lists them")
    add("--count", type=int, default=1200, help="crops, at most")
    add("--side", type=int, default=320, help="of the crops, in pixels")
    add("--seed", type=int, default=3, help="decides places and order")
    run_script(parser, work, words)


if __name__ == "__main__":
    main()
