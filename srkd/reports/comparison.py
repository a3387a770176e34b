"""The table, the plots and the conclusions of a comparison of methods with their controls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from srkd.files import replacing, write_text
from srkd.metrics.intervals import BETTER, EQUAL, WORSE, tell_apart
from srkd.terminal import say, show

# Columns for which a terminal has no room.
_ONLY_WRITTEN = ("SSIM", "memory", "minutes")
_DIGITS = {"psnr": 2, "ssim": 4, "lpips": 4}

Row = Mapping[str, Any]


def write_table(summary: Row, path: Path) -> None:
    """Writes a comparison as Markdown, and prints the columns that fit a terminal of 80, and what follows.

    Args:
        summary: as `srkd compare` returns it.
        path: the Markdown file.
    """
    variant, seeds = summary["lpips"], summary["seeds"]
    keys = [key for key in _DIGITS if key in summary["rows"][0]]
    heads = _heads(keys, variant)
    reference = summary.get("bicubic")
    lines = [["bicubic", *_scores_of(reference, keys)]] if reference else []
    lines += [[row["method"], *_cells(row, keys), *_costs(row)] for row in summary["rows"]]
    heads_of_all = [*heads, *(["minutes", "memory"] if "seconds" in summary["rows"][0] else [])]
    parts = [_markdown(heads_of_all, lines)]
    show(_table(heads_of_all, lines))
    for name in summary["rows"][0].get("test", {}):
        lines = [["bicubic", *_scores_of(reference["test"][name], keys)]] if reference else []
        lines += [[row["method"], *_cells(row["test"][name], keys)] for row in summary["rows"]]
        parts += [f"{name}:", _markdown(heads, lines)]
        say(f"{name}:")
        show(_table(heads, lines))
    if any("bd" in row for row in summary["rows"]):
        heads = ["method", "BD-LPIPS", "BD-PSNR, dB"]
        lines = [[row["method"], *_bd_cells(row["bd"])] for row in summary["rows"] if "bd" in row]
        parts.append(_markdown(heads, lines))
        show(_table(heads, lines))
    over = f"Mean and standard deviation over {seeds} seeds" if seeds > 1 else "One seed"
    images = summary.get("images", "the validation images")
    intervals = ", with paired 95 % confidence intervals" if seeds > 1 else ""
    note = (
        f"{over} on {images}, protocol {summary['protocol']}; differences from the control at "
        f"equal steps{intervals}."
    )
    parts.append(note)
    say(f"{note} -> {path.parent}")
    conclusions = [f"{row['method']}: {row['conclusion']}" for row in summary["rows"] if "conclusion" in row]
    for sentence in conclusions:
        say(sentence)
    parts.append("\n".join(f"- {sentence}" for sentence in conclusions))
    write_text(path, "\n\n".join(filter(None, parts)) + "\n")


def _heads(keys: Sequence[str], variant: str) -> list[str]:
    names = {"psnr": "PSNR", "ssim": "SSIM", "lpips": variant}
    gaps = {"psnr": "difference in PSNR", "lpips": "difference in LPIPS"}
    return ["method", *(names[key] for key in keys), *(gaps[key] for key in keys if key in gaps)]


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    padded = [[*line, *[""] * (len(heads) - len(line))] for line in lines]
    rows = [f"| {' | '.join(line)} |" for line in padded]
    return "\n".join([f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *rows])


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in heads:
        if head not in _ONLY_WRITTEN:
            table.add_column(head.replace(" in ", "\nin "), no_wrap=True)
    for line in lines:
        shown = zip(heads, line, strict=False)
        table.add_row(*(cell.replace(" ±", "\n±") for head, cell in shown if head not in _ONLY_WRITTEN))
    return table


def _scores_of(scores: Row, keys: Sequence[str]) -> list[str]:
    return [f"{scores[key]:.{_DIGITS[key]}f}" for key in keys]


def _cells(row: Row, keys: Sequence[str]) -> list[str]:
    gaps = row.get("difference")
    cells = [_spread(row[key], _DIGITS[key]) for key in keys]
    for key, digits in (("psnr", 3), ("lpips", 4)):
        if key in keys:
            cells.append(_gap(gaps[key], digits) if gaps else "")
    return cells


def _costs(row: Row) -> list[str]:
    if "seconds" not in row:
        return []
    return [f"{np.mean(row['seconds']) / 60:.1f}", f"{np.max(row['memory']) / 2**30:.2f} GiB"]


def _bd_cells(bd: Row) -> list[str]:
    return [
        _gap(bd[key], digits) if bd[key]["mean"] is not None else "none"
        for key, digits in (("lpips", 4), ("psnr", 3))
    ]


def _spread(values: Sequence[float], digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _gap(found: Mapping[str, float], digits: int) -> str:
    width = f" ± {found['half_width']:.{digits}f}" if found["half_width"] is not None else ""
    return f"{found['mean']:+.{digits}f}{width}"


def conclude(row: Row, variant: str) -> str:
    """What follows from a method's differences from its control, in a sentence.

    A method helps when it is better in one measure and worse in none; where it trades one for the other, the
    curves decide if they are there.

    Args:
        row: of the comparison's rows, one with a control.
        variant: of LPIPS, or `none`.
    """
    gaps, bd = row["difference"], row.get("bd")
    words = {key: _measure_words(gaps[key], key, variant) for key in ("psnr", "lpips") if key in gaps}
    if gaps["psnr"]["half_width"] is None:
        said = " and ".join(_plain(gaps[key], key, variant) for key in words)
        return f"{said} from the control with one seed, which may be chance; use 3 or more"
    verdicts = {tell_apart(gaps[key], key == "psnr") for key in words}
    ends = "; ".join(words.values())
    if bd is not None and any(_is_told(bd[key]) for key in ("lpips", "psnr")):
        return f"{_bd_words(bd)}. At the end of training: {ends}"
    if bd is not None:
        reasons = sorted({reason for key in ("lpips", "psnr") for reason in bd[key]["none"]})
        ends += f" (no BD: {'; '.join(reasons)})"
    if {BETTER, WORSE} <= verdicts:
        hint = "" if bd is not None else "; --curves tells whether that is a gain"
        return f"trades one measure for the other: {ends}{hint}"
    head = {BETTER: "helps", WORSE: "hurts"}.get(
        next(iter(verdicts - {EQUAL}), ""), "is not told apart from its control"
    )
    return f"{head}: {ends}"


def _measure_words(gap: Mapping[str, float], key: str, variant: str) -> str:
    found = tell_apart(gap, key == "psnr")
    return f"{_plain(gap, key, variant)}, {found}"


def _plain(gap: Mapping[str, float], key: str, variant: str) -> str:
    return f"PSNR {_gap(gap, 3)} dB" if key == "psnr" else f"{variant} {_gap(gap, 4)}"


def _is_told(bd: Row) -> bool:
    return bd["half_width"] is not None


def _bd_words(bd: Row) -> str:
    """The verdict of the curves."""
    parts, verdicts = [], set()
    for key, name, unit, at in (("lpips", "BD-LPIPS", "", "PSNR"), ("psnr", "BD-PSNR", " dB", "LPIPS")):
        if _is_told(bd[key]):
            verdicts.add(tell_apart(bd[key], key == "psnr"))
            of = f", of {len(bd[key]['seeds']) - len(bd[key]['none'])} seeds" if bd[key]["none"] else ""
            parts.append(f"{name} {_gap(bd[key], 4 if key == 'lpips' else 3)}{unit} at equal {at}{of}")
        else:
            parts.append(f"no {name} ({'; '.join(sorted(set(bd[key]['none']))) or 'one seed'})")
    told = verdicts - {EQUAL}
    if told == {BETTER}:
        head = "helps"
    elif told == {WORSE}:
        head = "hurts"
    else:
        head = (
            "is not told apart from its control" if not told else "helps by one curve and hurts by the other"
        )
    return f"{head}: {', '.join(parts)}"


def plot_differences(summary: Row, path: Path) -> None:
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
    titles = {"psnr": "PSNR, dB (right is better)", "lpips": f"{summary['lpips']} (left is better)"}
    keys = [key for key in titles if key in rows[0]["difference"]]
    figure = Figure(figsize=(4.5 * len(keys), 1.2 + 0.45 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axis, key in zip(axes, keys, strict=True):
        means = [row["difference"][key]["mean"] for row in rows]
        widths = [row["difference"][key]["half_width"] or 0.0 for row in rows]
        axis.errorbar(means, range(len(rows)), xerr=widths, fmt="o", capsize=4, color="#2a5d8f")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(titles[key], fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    seeds = summary["seeds"]
    interval = f"95 % interval over {seeds} seeds" if seeds > 1 else "one seed"
    figure.suptitle(f"difference from the control, {interval}", fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def plot_curves(summary: Row, path: Path) -> None:
    """Plots every method's curves of PSNR and LPIPS with those of its control, a line for each seed, a dot at
    the end of training. Writes nothing where there are no curves.

    Args:
        summary: as `srkd compare` returns it.
        path: the image file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_name = {row["method"]: row for row in summary["rows"]}
    rows = [row for row in summary["rows"] if "bd" in row]
    if not rows:
        return
    columns = min(3, len(rows))
    height = -(-len(rows) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.6 * height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(height, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for axis, row in zip(axes.flat, rows, strict=False):
        for one, colour in ((by_name[row["control"]], "#888888"), (row, "#c0392b")):
            for number, curve in enumerate(one["curves"]):
                points = np.array([(point["psnr"], point["lpips"]) for point in curve])
                axis.plot(*points.T, color=colour, linewidth=1, label=None if number else one["method"])
                axis.plot(*points[-1], "o", color=colour, markersize=4)
        axis.set_title(row["method"], fontsize=10)
        axis.set_xlabel("PSNR, dB", fontsize=8)
        axis.set_ylabel(summary["lpips"], fontsize=8)
        # Shared axes have numbers in the last row alone, which may be short of a column.
        axis.tick_params(labelsize=8, labelbottom=True, labelleft=True)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
