"""The table and the plot of a comparison of methods with their controls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from srkd.files import replacing, write_text
from srkd.terminal import say, show

# Columns for which a terminal has no room.
_ONLY_WRITTEN = ("SSIM", "memory")


def write_table(summary: Mapping[str, Any], path: Path) -> None:
    """Writes a comparison as Markdown, and prints the columns that fit a terminal of 80.

    Args:
        summary: as `srkd compare` returns it.
        path: the Markdown file.
    """
    heads = ["method", "PSNR", "SSIM", summary["lpips"], "difference in PSNR", "difference in LPIPS"]
    heads += ["minutes", "memory"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in heads:
        if head not in _ONLY_WRITTEN:
            table.add_column(head.replace(" in ", "\nin "), no_wrap=True)
    for row in summary["rows"]:
        cells = _cells(row)
        lines.append(f"| {' | '.join(cells)} |")
        shown = zip(heads, cells, strict=True)
        table.add_row(*(cell.replace(" ±", "\n±") for head, cell in shown if head not in _ONLY_WRITTEN))
    note = (
        f"Mean and standard deviation over {summary['seeds']} seeds on the validation images, protocol "
        f"{summary['protocol']}; differences from the control at equal steps, with paired 95 % confidence "
        "intervals."
    )
    write_text(path, "\n".join([*lines, "", note, ""]))
    show(table)
    say(f"{note} -> {path.parent}")


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [row["method"], _spread(row["psnr"], 2), _spread(row["ssim"], 4), _spread(row["lpips"], 4)]
    gaps = row.get("difference")
    cells += [_gap(gaps["psnr"], 3), _gap(gaps["lpips"], 4)] if gaps else ["", ""]
    return [*cells, f"{np.mean(row['seconds']) / 60:.1f}", f"{np.max(row['memory']) / 2**30:.2f} GiB"]


def _spread(values: Sequence[float], digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _gap(found: Mapping[str, float], digits: int) -> str:
    width = f" ± {found['half_width']:.{digits}f}" if found["half_width"] is not None else ""
    return f"{found['mean']:+.{digits}f}{width}"


def plot_differences(summary: Mapping[str, Any], path: Path) -> None:
    """Plots the differences from the control with their intervals, PSNR and LPIPS side by side. Writes
    nothing when no method has a control.

    Args:
        summary: as `srkd compare` returns it.
        path: the image file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in summary["rows"] if "difference" in row]
    if not rows:
        return
    figure = Figure(figsize=(9, 1.2 + 0.45 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    titles = (("psnr", "PSNR, dB (right is better)"), ("lpips", f"{summary['lpips']} (left is better)"))
    for axis, (key, title) in zip(axes, titles, strict=True):
        means = [row["difference"][key]["mean"] for row in rows]
        widths = [row["difference"][key]["half_width"] or 0.0 for row in rows]
        axis.errorbar(means, range(len(rows)), xerr=widths, fmt="o", capsize=4, color="#2a5d8f")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    seeds = summary["seeds"]
    figure.suptitle(
        f"difference from the control, 95 % interval over {seeds} seed{'s' * (seeds > 1)}", fontsize=11
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
