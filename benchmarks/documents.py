"""Renders pages of text, a second domain for `srkd extend`.

    python benchmarks/documents.py OUT [--count 80]

480x480 pixels, a page of text each, some black on white and some coloured, in fonts of 10 to 30 pixels. The
text is Python's own documentation, the fonts come with matplotlib; the same arguments give the same pages.
"""

import importlib
import inspect
import sys
import textwrap
from argparse import Namespace
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srkd.images.writing import write_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_at_least, make_parser, run_script

_MODULES = ("argparse", "logging", "decimal", "difflib", "textwrap", "random", "heapq", "turtle", "typing")
_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("DejaVuSansMono", "STIXGeneral", "STIXGeneralBol"),
)
_SIDE = 480


def render(number: int, words: list[str], folder: Path, font_size: int | None = None) -> np.ndarray:
    """A page: `(480, 480, 3)` uint8. The number decides everything, the size of the font where none is
    given."""
    rng = np.random.default_rng(number)
    drawn = int(rng.integers(10, 31))
    font_size = font_size or drawn
    font = ImageFont.truetype(folder / f"{rng.choice(_FONTS)}.ttf", font_size)
    paper, ink = (255, 255, 255), (0, 0, 0)
    if rng.random() < 0.4:
        paper = tuple(int(v) for v in rng.integers(190, 256, 3))
        ink = tuple(int(v) for v in rng.integers(0, 110, 3))
        if rng.random() < 0.3:
            paper, ink = ink, paper
    page = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(page)
    start = int(rng.integers(max(len(words) - 400, 1)))
    line_length = int(_SIDE / (0.55 * font_size))
    lines = textwrap.wrap(" ".join(words[start : start + 400]), line_length)
    left, top = (int(v) for v in rng.integers(4, 24, 2))
    for row, line in enumerate(lines[: int(_SIDE / (1.3 * font_size))]):
        draw.text((left, top + 1.3 * font_size * row), line, ink, font)
    return np.array(page)


def collect_words() -> list[str]:
    """The words of the docstrings of the modules and their functions."""
    docs = []
    for name in _MODULES:
        module = importlib.import_module(name)
        members = [member for _, member in inspect.getmembers(module) if inspect.isfunction(member)]
        docs += [inspect.getdoc(item) or "" for item in (module, *members)]
    return " ".join(docs).encode("ascii", "ignore").decode().split()


def fonts_folder() -> Path:
    """Of the fonts that come with matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def work(arguments: Namespace) -> None:
    check_at_least(1, count=arguments.count)
    words, fonts = collect_words(), fonts_folder()
    for number in range(arguments.count):
        write_image(arguments.out / f"page_{number:03d}.png", render(number, words, fonts))
    print(f"{arguments.count} pages -> {arguments.out}")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("out", type=Path, help="folder for the pages")
    parser.add_argument("--count", type=int, default=80)
    run_script(parser, work)


if __name__ == "__main__":
    main()
