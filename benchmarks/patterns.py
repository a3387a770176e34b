"""Writes images that photographs do not resemble: noise, dithering, stripes, pixel lettering.

    python benchmarks/patterns.py --out FOLDER [--count 48]
    python benchmarks/patterns.py --weights NAME [NAME ...] [--json FILE]

Each is drawn pixel by pixel at 64x64 and enlarged four times without smoothing. A few among the photographs
(`srkd prepare`) teach a network to bear such images, of which weights that have grown in long training make
values far beyond white. With `--weights`, the largest value that each network makes of each kind, drawn anew.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import srkd
from srkd.errors import SrkdError
from srkd.files import console, write_text

SIDE, SCALE = 64, 4
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 + 1 / 32


def draw_noise(rng: np.random.Generator) -> np.ndarray:
    """Every pixel and channel by itself."""
    return rng.random((SIDE, SIDE, 3))


def draw_binary(rng: np.random.Generator) -> np.ndarray:
    """Coloured noise of two values."""
    return (rng.random((SIDE, SIDE, 3)) < rng.uniform(0.2, 0.8)).astype(float)


def draw_gray(rng: np.random.Generator) -> np.ndarray:
    """Gray noise of two values, in dots of one to three pixels."""
    size = int(rng.integers(1, 4))
    dots = rng.random((SIDE, SIDE, 1)) < rng.uniform(0.2, 0.8)
    return dots[ROWS // size, COLUMNS // size].astype(float).repeat(3, 2)


def draw_stripes(rng: np.random.Generator) -> np.ndarray:
    """Stripes in some direction, with a phase for each channel or one; checkerboards, and at times plain."""
    down, right = rng.integers(0, 3, 2)
    period = int(rng.integers(2, 5))
    phases = rng.integers(0, period, 3) if rng.random() < 0.5 else np.zeros(3, int)
    place = (down * ROWS + max(right, down == 0) * COLUMNS)[..., None] + phases
    return (place % period == 0).astype(float)


def draw_dither(rng: np.random.Generator) -> np.ndarray:
    """A coloured gradient in two values a channel by Bayer's ordered dithering."""
    across, along = rng.random((2, 3)), np.linspace(0, 1, SIDE)[:, None, None]
    gradient = across[0] * (1 - along) + across[1] * along
    return (gradient > BAYER[ROWS % 4, COLUMNS % 4][..., None]).astype(float)


def draw_lettering(rng: np.random.Generator) -> np.ndarray:
    """Letters without smoothing, as on a screen."""
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
    """Writes `count` images, of each kind in turn. A number is always the same image."""
    out.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = DRAW[number % len(DRAW)](np.random.default_rng(number))
        image = Image.fromarray((pixels * 255).round().astype(np.uint8))
        image.resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.NEAREST).save(
            out / f"zz_pattern_{number:03}.png"
        )


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


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--out", type=Path, help="folder to write images to")
    task.add_argument("--weights", nargs="+", help="networks to try")
    parser.add_argument("--count", type=int, default=48, help="how many images to write")
    parser.add_argument("--json", type=Path, help="file for what the networks make of them")
    arguments = parser.parse_args(words)
    try:
        if arguments.out:
            write_patterns(arguments.out, arguments.count)
            return
        found = measure(arguments.weights)
        for name, values in found.items():
            console.print(f"{name}: {', '.join(f'{k} {v}' for k, v in values.items())}", markup=False)
        if arguments.json:
            write_text(arguments.json, json.dumps(found, indent=1) + "\n")
    except SrkdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
