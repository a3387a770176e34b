"""Training runs side by side: what differs in their options, their last numbers, their curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from srkd.files import replacing

Run = Mapping[str, Any]
# Of the options, those that say where a run is, not what it is.
_PLACE = frozenset(["out"])


def flatten(options: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Nested options by their paths, as `stages.transfer.losses.output.weight`."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        path = f"{start}{key}"
        found |= flatten(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return found


def find_differences(runs: Sequence[Run]) -> list[str]:
    """The options, by their paths, that are not the same in all runs, in the recipes' order."""
    every = [flatten(run["recipe"]) for run in runs]
    paths = dict.fromkeys(path for options in every for path in options)
    return [
        path
        for path in paths
        if path not in _PLACE and any(options.get(path) != every[0].get(path) for options in every)
    ]


def list_options(run: Run, paths: Sequence[str]) -> dict[str, Any]:
    """A run's values of options; None for what it does not have."""
    options = flatten(run["recipe"])
    return {path: options.get(path) for path in paths}


def last_losses(run: Run) -> dict[str, float]:
    """The losses that a run's log has last, by stage and name: means of the last tenth, 1 to 20 entries."""
    found: dict[str, float] = {}
    for stage, name in _series(run):
        values = [entry["losses"][name] for entry in _losses(run, stage) if name in entry["losses"]]
        found[f"{stage} {name}"] = float(np.mean(values[-min(max(len(values) // 10, 1), 20) :]))
    return found


def compare_tables(runs: Sequence[Run], names: Sequence[str]) -> list[Table]:
    """The tables of runs side by side, a column each: last numbers, then the options that differ."""
    losses = [last_losses(run) for run in runs]
    rows: dict[str, list[str]] = {}
    for stage in dict.fromkeys(stage for run in runs for stage in run["psnr"]):
        for key, title in (("psnr", "PSNR"), ("best", "best PSNR")):
            rows[f"{stage} {title}, dB"] = [_number(run[key].get(stage), ".2f") for run in runs]
    for name in dict.fromkeys(name for found in losses for name in found):
        rows[name] = [_number(found.get(name), ".4g") for found in losses]
    rows["minutes"] = [_number(run.get("seconds") and run["seconds"] / 60, ".1f") for run in runs]
    paths = find_differences(runs)
    options = [list_options(run, paths) for run in runs]
    differing = {path: [_word(found[path]) for found in options] for path in paths}
    tables = [_table("at the end", rows, names)]
    if len(runs) > 1:
        tables.append(_table("options that differ" if paths else "no option differs", differing, names))
    return tables


def plot_runs(runs: Sequence[Run], names: Sequence[str], path: Path) -> None:
    """Draws validation PSNR and each loss over the steps of the whole run, its stages one after another.

    Args:
        runs: each with `log`, `recipe`, `psnr` as `srkd runs` reads them.
        names: of the runs, for the legend.
        path: the image file.

    Raises:
        SrkdError: it cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: list[tuple[str, str]] = [("", "")]
    panels += list(dict.fromkeys(pair for run in runs for pair in _series(run)))
    columns = min(3, len(panels))
    height = -(-len(panels) // columns)
    legend = 0.22 * -(-len(runs) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.0 * height + legend), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(height, columns, squeeze=False)
    colours = matplotlib.colormaps["tab10" if len(runs) <= 10 else "turbo"]
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (stage, name) in zip(axes.flat, panels, strict=False):
        for number, run in enumerate(runs):
            colour = colours(number if len(runs) <= 10 else number / (len(runs) - 1))
            label = names[number] if axis is axes.flat[0] else None
            points = losses_over_steps(run, stage, name) if name else psnr_over_steps(run)
            _draw(axis, *points, bool(name), color=colour, label=label)
        axis.set_title(f"{stage}: {name}" if name else "validation PSNR, dB", fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw(axis: Any, steps: list[float], values: list[float], loss: bool, **style: Any) -> None:
    """A curve; of losses, which jump from batch to batch, the running mean, and the values pale."""
    window = max(1, len(values) // 20) if loss else 1
    if window > 1:
        axis.plot(steps, values, color=style["color"], linewidth=0.6, alpha=0.25)
    means = np.convolve(values, np.ones(window) / window, mode="valid") if values else []
    axis.plot(steps[window - 1 :], means, linewidth=1.4, marker="o" if len(means) < 3 else None, **style)


def _series(run: Run) -> list[tuple[str, str]]:
    """The losses of a run's log, as stage and name."""
    return list(
        dict.fromkeys((entry["stage"], name) for entry in run["log"] for name in entry.get("losses", {}))
    )


def _losses(run: Run, stage: str) -> list[Mapping[str, Any]]:
    return [entry for entry in run["log"] if entry["stage"] == stage and "losses" in entry]


def _offsets(run: Run) -> dict[str, int]:
    """The steps of the run before each of its stages."""
    offsets, before = {}, 0
    for stage, options in (run["recipe"].get("stages") or {}).items():
        offsets[stage] = before
        before += (options or {}).get("steps", 0)
    return offsets


def psnr_over_steps(run: Run) -> tuple[list[float], list[float]]:
    """Steps of the whole run, and the validation PSNR there, in dB, a mean over members."""
    offsets = _offsets(run)
    points = [
        (offsets.get(entry["stage"], 0) + entry["step"], float(np.mean(entry["psnr"])))
        for entry in run["log"]
        if "psnr" in entry
    ]
    return [x for x, _ in points], [y for _, y in points]


def losses_over_steps(run: Run, stage: str, name: str) -> tuple[list[float], list[float]]:
    """Steps of the whole run, and a loss of one of its stages there."""
    entries = [entry for entry in _losses(run, stage) if name in entry["losses"]]
    before = _offsets(run).get(stage, 0)
    return [before + entry["step"] for entry in entries], [entry["losses"][name] for entry in entries]


def _table(title: str, rows: Mapping[str, Sequence[str]], names: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for head, cells in rows.items():
        table.add_row(head, *cells)
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _word(value: Any) -> str:
    return "" if value is None else str(value).replace("[", r"\[")
