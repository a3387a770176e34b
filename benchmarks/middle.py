"""Cuts the middle of photographs, so that a slow teacher has less to enlarge.

    python benchmarks/middle.py PHOTOS MIDDLE [--side 576]

Images that are smaller are taken whole. Nothing is overwritten.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_at_least, check_folder, make_parser, run_script
from srkd.errors import UsageError
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.writing import write_image
from srkd.terminal import console


def cut(image: np.ndarray, side: int) -> np.ndarray:
    """The central square of `side` pixels of an image `(H, W, 3)`, or what there is of it."""
    top, left = (max(edge - side, 0) // 2 for edge in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def cut_all(arguments: Namespace) -> None:
    check_folder("PHOTOS", arguments.photos)
    check_at_least(1, side=arguments.side)
    out = arguments.out
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder; give another")
    images = list_images(arguments.photos)
    for path in images:
        # With the suffix, which alone may tell two photographs apart.
        write_image(out / f"{path.name.replace('.', '_')}.png", cut(read_image(path), arguments.side))
    console.print(f"{len(images)} images -> {out}", markup=False)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("out", type=Path, help="folder for the cuts, new or empty")
    parser.add_argument("--side", type=int, default=576, help="of the cuts, in pixels")
    run_script(parser, cut_all, words)


if __name__ == "__main__":
    main()
