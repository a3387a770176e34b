"""crops.png: windows of benchmark images, upscaled by a few of the rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.runtimes import SCALE
from benchmarks.strategies.rows import GAN_TEACHER, LAST_STAGE, START, STUDENT, Row
from benchmarks.strategies.score import cache_path, open_model, read_cache
from srkd.commands.evaluate import open_benchmark
from srkd.files import replacing

CAPTIONED = "st-lpips-alex"


class Crop(NamedTuple):
    """A window of a benchmark image, in HR pixels."""

    set: str
    name: str
    left: int
    top: int


# Edges, texture, lettering.
CROPS = (
    Crop("Set5", "img_003.png", 128, 80),
    Crop("Set5", "img_005.png", 40, 0),
    Crop("Set14", "img_005.png", 64, 60),
    Crop("Set14", "img_013.png", 24, 236),
    Crop("Set14", "img_014.png", 420, 140),
)
SIDE, ENLARGED, FONT = 112, 2, 14


def choose_columns(rows: Sequence[Row], summaries: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """The rows shown: bicubic, the student before distillation, the fine-tuned one with the best mean LPIPS
    on the first set, the shipped student, and the GAN-trained teacher."""
    first = next(iter(summaries[0]["scores"]))
    tuned = [
        (summary["scores"][first][CAPTIONED]["mean"], row)
        for row, summary in zip(rows, summaries, strict=True)
        if row.stage == LAST_STAGE
    ]
    best = min(tuned, key=lambda entry: entry[0])[1] if tuned else None
    named = {row.name: row for row in rows if row.stage is None}
    shown = [named.get("bicubic"), named.get(START), best, named.get(STUDENT), named.get(GAN_TEACHER)]
    return {row.title: row for row in shown if row is not None}


def draw_crops(
    columns: Mapping[str, Row], data: Path, sets: Sequence[str], cache: Path, path: Path
) -> list[str]:
    """Writes the grid, one line per image, and returns the images that are missing. A row with several seeds
    is shown by its first."""
    models = {name: (open_model(row.weights[0]), row.keys[0]) for name, row in columns.items()}
    lines, missing = [], []
    for crop in CROPS:
        if crop.set not in sets:
            continue
        pairs = open_benchmark(str(data / crop.set), SCALE)[1]
        pair = next((pair for pair in pairs if pair.name == crop.name), None)
        if pair is None:
            missing.append(f"{crop.set}/{crop.name}")
            continue
        scores = read_cache(cache_path(cache, crop.set, pair))
        window = np.s_[crop.top : crop.top + SIDE, crop.left : crop.left + SIDE]
        line = {f"HR, {crop.set} {crop.name}": pair.hr[window]}
        for name, (model, key) in models.items():
            line[f"{name}\n{CAPTIONED} {scores[key][CAPTIONED]:.4f}"] = model(pair.lr)[window]
        lines.append(line)
    if lines:
        with replacing(path) as temporary:
            paint(lines).save(temporary)
    return missing


def paint(lines: Sequence[Mapping[str, np.ndarray]]) -> Image.Image:
    """Captioned pictures in a grid, enlarged without smoothing."""
    cell, room, space = SIDE * ENLARGED, round(2.6 * FONT), 6
    size = (len(lines[0]) * (cell + space), len(lines) * (cell + room))
    sheet = Image.new("RGB", size, "white")
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for row, line in enumerate(lines):
        for column, (caption, picture) in enumerate(line.items()):
            left, top = column * (cell + space), row * (cell + room)
            brush.text((left, top), caption, "black", font)
            squares = picture.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
            sheet.paste(Image.fromarray(squares), (left, top + room))
    return sheet
