"""What self-contained HTML pages of runs show: training curves, and where photographs are busiest."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srkd.metrics.scores import luma

# Of each quantity and run: steps and values.
Series = dict[str, dict[str, list[tuple[float, float]]]]


def plot_curves(runs: Mapping[str, Sequence[Path]]) -> list[str]:
    """Plots the logs of several trainings together: validation PSNR first, then each loss. Stages, and the
    runs of a training, follow one another on the axis of steps.

    Args:
        runs: each training's run folders by label.

    Returns:
        SVG texts.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    series = _read_series(runs)
    names = sorted(series, key=lambda name: (not name.startswith("validation"), name))
    height = (len(names) + 2) // 3
    figure = Figure(figsize=(12, 2.8 * height))
    canvas = FigureCanvasSVG(figure)
    axes = figure.subplots(height, 3, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        for label, points in series[name].items():
            x, y = zip(*points, strict=True)
            axis.plot(x, y, label=label, linewidth=1.2)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    figure.tight_layout()
    buffer = io.StringIO()
    canvas.print_svg(buffer)
    text = buffer.getvalue()
    return [text[text.index("<svg") :]]


def _read_series(runs: Mapping[str, Sequence[Path]]) -> Series:
    series: Series = {}
    for label, folders in runs.items():
        offset, last, stage, number = 0, 0, None, 0
        seen: dict[str, int] = {}
        for folder, entry in _read_logs(folders):
            if (folder, entry["stage"]) != stage:
                offset, stage, number = offset + last, (folder, entry["stage"]), number + 1
            last = entry["step"]
            values = dict(entry.get("losses", {}))
            if "psnr" in entry:
                values["validation PSNR, dB"] = float(np.mean(entry["psnr"]))
            for name, value in values.items():
                points = series.setdefault(name, {}).setdefault(label, [])
                if number - seen.get(name, number) > 1:
                    # A loss that pauses for a stage is not drawn across the gap.
                    points.append((np.nan, np.nan))
                seen[name] = number
                points.append((offset + last, value))
    return series


def _read_logs(folders: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for folder in folders:
        for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
            yield folder, json.loads(line)


def busiest_window(image: np.ndarray, side: int) -> tuple[int, int]:
    """Finds the square with the greatest variance of luma, on a grid of eighths of its side.

    Args:
        image: `(H, W, 3)` uint8.
        side: of the square, in pixels.

    Returns:
        Its top and left.
    """
    values, step = luma(image), max(side // 8, 1)
    tops = range(0, max(image.shape[0] - side, 0) + 1, step)
    lefts = range(0, max(image.shape[1] - side, 0) + 1, step)
    return max(
        ((y, x) for y in tops for x in lefts),
        key=lambda p: values[p[0] : p[0] + side, p[1] : p[1] + side].std(),
    )
