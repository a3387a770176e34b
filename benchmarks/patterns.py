"""Images unlike photographs: noise, dithering, stripes, pixel lettering.

    python benchmarks/patterns.py --out FOLDER [--count 48]
    python benchmarks/patterns.py --weights NAME [NAME ...] [--json FILE]

Each is drawn at 64x64 and enlarged four times by nearest neighbour. After long training, weights can produce
values far beyond white on such images; a few of them among the training photographs (`srkd prepare`) prevent
that. `--weights` reports the largest value that each network produces on each kind, for newly drawn patterns.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import srkd
from srkd.files import replacing
from srkd.terminal import console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_at_least, check_output, make_parser, run_script, write_json

SIDE, SCALE = 64, 4
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32


def draw_noise(rng: np.random.Generator) -> np.ndarray:
    """Independent pixels and channels."""
    return rng.random((SIDE, SIDE, 3))


def draw_binary(rng: np.random.Generator) -> np.ndarray:
    """Coloured two-valued noise."""
    return (rng.random((SIDE, SIDE, 3)) < rng.uniform(0.2, 0.8)).astype(float)


def draw_gray(rng: np.random.Generator) -> np.ndarray:
    """Gray two-valued noise in dots of one to three pixels."""
    size = int(rng.integers(1, 4))
    dots = rng.random((SIDE, SIDE, 1)) < rng.uniform(0.2, 0.8)
    return dots[ROWS // size, COLUMNS // size].astype(float).repeat(3, 2)


def draw_stripes(rng: np.random.Generator) -> np.ndarray:
    """Stripes or checkerboards, with one phase or a phase per channel; sometimes a plain image."""
    down, right = rng.integers(0, 3, 2)
    period = int(rng.integers(2, 5))
    phases = rng.integers(0, period, 3) if rng.random() < 0.5 else np.zeros(3, int)
    place = (down * ROWS + max(right, down == 0) * COLUMNS)[..., None] + phases
    return (place % period == 0).astype(float)


def draw_dither(rng: np.random.Generator) -> np.ndarray:
    """A coloured gradient, dithered to two values per channel by Bayer's matrix."""
    across, along = rng.random((2, 3)), np.linspace(0, 1, SIDE)[:, None, None]
    gradient = across[0] * (1 - along) + across[1] * along
    return (gradient > BAYER[ROWS % 4, COLUMNS % 4][..., None]).astype(float)


def draw_lettering(rng: np.random.Generator) -> np.ndarray:
    """Text without antialiasing."""
    back, front = rng.integers(0, 256, 3), rng.integers(0, 256, 3)
    image = Image.new("RGB", (SIDE, SIDE), tuple(back.tolist()))
    canvas = ImageDraw.Draw(image)
    canvas.fontmode = "1"
    font = ImageFont.load_default(int(rng.integers(7, 14)))
    for top in range(0, SIDE, 12):
        text = "".join(map(chr, rng.integers(33, 127, 12)))
        canvas.text((0, top), text, fill=tuple(front.tolist()), font=font)
    return np.asarray(image) / 255


DRAW: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (
    draw_noise,
    draw_binary,
    draw_gray,
    draw_stripes,
    draw_dither,
    draw_lettering,
)


def write_patterns(out: Path, count: int) -> None:
    """Writes `count` images, cycling through the kinds. A number always gives the same image."""
    for number in range(count):
        pixels = DRAW[number % len(DRAW)](np.random.default_rng(number))
        image = Image.fromarray((pixels * 255).round().astype(np.uint8))
        with replacing(out / f"zz_pattern_{number:03}.png") as temporary:
            image.resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.NEAREST).save(temporary)


def measure(weights: Sequence[str], draws: int = 8, first: int = 10_000) -> dict[str, dict[str, float]]:
    """By network and kind of pattern, the largest absolute value of the SR image, where white is 1."""
    found: dict[str, dict[str, float]] = {}
    for name in weights:
        model = srkd.load_generator(name).float()
        found[name] = {}
        for draw in DRAW:
            images = np.stack([draw(np.random.default_rng(first + number)) for number in range(draws)])
            with torch.no_grad():
                sr = model(torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2))
            found[name][draw.__name__.removeprefix("draw_")] = round(float(sr.abs().max()), 2)
    return found


def work(arguments: Namespace) -> None:
    if arguments.out:
        check_at_least(1, count=arguments.count)
        write_patterns(arguments.out, arguments.count)
        return
    check_output("--json", arguments.json)
    found = measure(arguments.weights)
    for name, values in found.items():
        console.print(f"{name}: {', '.join(f'{k} {v}' for k, v in values.items())}", markup=False)
    if arguments.json:
        write_json(arguments.json, found)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--out", type=Path, help="write images to this folder")
    task.add_argument("--weights", nargs="+", help="measure these networks: files or shipped names")
    parser.add_argument("--count", type=int, default=48, help="how many images to write")
    parser.add_argument("--json", type=Path, help="file for the largest values")
    run_script(parser, work, words)


if __name__ == "__main__":
    main()
