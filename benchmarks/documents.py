"""Renders pages of text, a second domain for `srkd extend`.

    python benchmarks/documents.py OUT [--count 80]

The text is Python's own documentation, the fonts are those that matplotlib installs; equal arguments give
equal pages. 480x480 pixels, one page of text each: some black on white, some coloured, in 10 to 30 pixels.
"""

import argparse
import importlib
import inspect
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srkd.images import write_image

_MODULES = ("argparse", "logging", "decimal", "difflib", "textwrap", "random", "heapq", "turtle", "typing")
_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("DejaVuSansMono", "STIXGeneral", "STIXGeneralBol"),
)
_SIDE = 480


def render(number: int, words: list[str], folder: Path) -> np.ndarray:
    """A page: `(480, 480, 3)` uint8."""
    rng = np.random.default_rng(number)
    font_size = int(rng.integers(10, 31))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=80)
    arguments = parser.parse_args()
    docs = []
    for name in _MODULES:
        module = importlib.import_module(name)
        members = [member for _, member in inspect.getmembers(module) if inspect.isfunction(member)]
        docs += [inspect.getdoc(item) or "" for item in (module, *members)]
    words = " ".join(docs).encode("ascii", "ignore").decode().split()
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for number in range(arguments.count):
        write_image(Path(arguments.out) / f"page_{number:03d}.png", render(number, words, folder))
    print(f"{arguments.count} pages -> {arguments.out}")


if __name__ == "__main__":
    main()
