"""A self-contained HTML page of a run: table, curves, and crops side by side."""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srkd.files import write_text
from srkd.metrics.scores import luma

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem;
       color: #1c1e21; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .3rem .9rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
.crops { display: grid; gap: .6rem; margin: 1rem 0 2rem; }
figure { margin: 0; } figure img { width: 100%; image-rendering: pixelated; display: block; }
figcaption { font-size: 13px; color: #444; text-align: center; }
svg { max-width: 100%; height: auto; } .note { color: #555; }
"""


def write_report(
    path: Path,
    title: str,
    notes: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    curves: Sequence[str],
    crops: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Writes the page.

    Args:
        path: the file.
        title: its heading.
        notes: paragraphs below the heading.
        rows: the table: mappings with equal keys, the first of which names the row.
        curves: plots as SVG texts.
        crops: for each image, equal-sized crops `(H, W, 3)` uint8 by caption.
    """
    columns = list(rows[0])
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(_cell(name, row[name]))}</td>' for name in columns)}</tr>"
        for row in rows
    )
    pictures = "".join(
        f"<h3>{html.escape(name)}</h3>"
        f"<div class='crops' style='grid-template-columns: repeat({len(images)}, 1fr)'>"
        + "".join(
            f"<figure><img alt='{html.escape(caption)}' src='{_png(image)}'>"
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for caption, image in images.items()
        )
        + "</div>"
        for name, images in crops.items()
    )
    paragraphs = "".join(f"<p class='note'>{html.escape(note)}</p>" for note in notes)
    write_text(
        path,
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>{paragraphs}<h2>Scores</h2><table><tr>{head}</tr>{body}</table>"
        f"<h2>Crops</h2>{pictures}<h2>Training</h2>{''.join(curves)}</html>\n",
    )


def plot_curves(runs: Mapping[str, Path]) -> list[str]:
    """Plots the logs of runs over one another, stages behind one another: validation PSNR, then each loss.

    Args:
        runs: run folders by label.

    Returns:
        SVG texts.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    series: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for label, folder in runs.items():
        offset, last, stage = 0, 0, None
        for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["stage"] != stage:
                offset, stage = offset + last, entry["stage"]
            last = entry["step"]
            values = dict(entry.get("losses", {}))
            if "psnr" in entry:
                values["validation PSNR, dB"] = float(np.mean(entry["psnr"]))
            for name, value in values.items():
                series.setdefault(name, {}).setdefault(label, []).append((offset + last, value))
    names = sorted(series, key=lambda name: (not name.startswith("validation"), name))
    height = (len(names) + 2) // 3
    figure, axes = plt.subplots(height, 3, figsize=(12, 2.8 * height), squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        for label, points in series[name].items():
            # A loss that pauses for a stage is not drawn across the gap.
            x, y = (np.array(column, float) for column in zip(*points, strict=True))
            gaps = np.flatnonzero(np.diff(x) > 3 * np.median(np.diff(x))) + 1 if len(x) > 2 else []
            axis.plot(np.insert(x, gaps, np.nan), np.insert(y, gaps, np.nan), label=label, linewidth=1.2)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    text = buffer.getvalue()
    return [text[text.index("<svg") :]]


def busiest_window(image: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left of the `side`-pixel square of `(H, W, 3)` with the greatest variance of luma, on a grid
    of eighths of the square."""
    values, step = luma(image), max(side // 8, 1)
    tops = range(0, max(image.shape[0] - side, 0) + 1, step)
    lefts = range(0, max(image.shape[1] - side, 0) + 1, step)
    return max(
        ((y, x) for y in tops for x in lefts),
        key=lambda p: values[p[0] : p[0] + side, p[1] : p[1] + side].std(),
    )


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}" if "psnr" in name.lower() else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _png(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
