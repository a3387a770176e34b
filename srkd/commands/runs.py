"""`srkd runs`: training runs, how far they are, and how they compare."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Table

from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.reports.runs import compare_tables, find_differences, last_losses, list_options, plot_runs
from srkd.terminal import Progress, answer, note, reports, say
from srkd.training.logs import STATE, is_locked, read_log

_SHOWN = ("state", "strategy", "stage", "step", "steps", "psnr", "best")


@reports
def list_runs(
    folder: Sequence[StrPath] | StrPath = "runs",
    *,
    compare: bool = False,
    plot: StrPath | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """List training runs, their progress and best scores; compare and plot them.

    Args:
        folder: searched with everything below it; several are possible.
        compare: print the last numbers side by side too, and the options that differ.
        plot: an image file, such as runs.png, for validation PSNR and each loss over the steps.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        For each run: `folder`, `state` (`running`, `finished`, `stopped`, `failed`, or `interrupted` when it
        was killed), `strategy`, `stage`, `step`, `steps` (of the stage), `psnr` and `best` (validation PSNR
        in dB by stage). With `compare`, `losses` too (by stage and name, means of the log's last tenth), and
        `options`, those that are not the same in all runs, by their paths.

    Raises:
        UsageError: no such folder, no run in it, or a plot of another format.
    """
    folders = [Path(one) for one in ([folder] if isinstance(folder, str | Path) else folder)]
    if plot is not None and Path(plot).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {plot}: give a file that ends in .png, .svg or .pdf")
    runs = [run for place in dict.fromkeys(_find(folders)) if (run := _read(place)) is not None]
    if not runs:
        raise UsageError(f"{', '.join(map(str, folders))} holds no runs")
    answer(_table(runs))
    if compare or plot is not None:
        for run in runs:
            _add_details(Path(run["folder"]), run)
        names = _shorten([run["folder"] for run in runs])
        if compare:
            for table in compare_tables(runs, [escape(name) for name in names]):
                answer(table)
        if plot is not None:
            plot_runs(runs, names, Path(plot))
            say(f"curves of {len(runs)} run{'s' * (len(runs) != 1)} -> {plot}")
        paths = find_differences(runs)
        for run in runs:
            details = {"losses": last_losses(run), "options": list_options(run, paths)} if compare else {}
            run |= details
        for run in runs:
            del run["log"], run["recipe"]
    return runs


def _find(folders: Sequence[Path]) -> list[Path]:
    for root in folders:
        if not root.is_dir():
            raise UsageError(f"there is no folder {root}")
    return [path for root in folders for path in sorted(root.rglob(STATE))]


def _read(path: Path) -> dict[str, Any] | None:
    """What a run says of itself; None, with a note, where that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["folder"] = str(path.parent)
        if missing := [key for key in _SHOWN if key not in found]:
            raise ValueError(f"it does not say {missing[0]}")
        if found["state"] == "running" and not is_locked(path.parent):
            found["state"] = "interrupted"
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        note(f"{path} is damaged ({error})", "left out")
        return None


def _add_details(folder: Path, run: dict[str, Any]) -> None:
    """A run's log and recipe."""
    run["log"], run["recipe"] = read_log(folder), {}
    try:
        run["recipe"] = dict(yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        note(f"the options of {folder} cannot be read ({' '.join(str(error).split())})", "left out")


def _shorten(folders: Sequence[str]) -> list[str]:
    """The runs' names: their paths below the folder that all are in."""
    if len(folders) == 1:
        return [Path(folders[0]).name or folders[0]]
    top = os.path.commonpath([Path(folder).absolute() for folder in folders])
    return [os.path.relpath(folder, top) for folder in folders]


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("run", "strategy", "state", "stage", "step", "PSNR", "best"):
        table.add_column(column, justify="right" if column in ("step", "PSNR", "best") else "left")
    for run in runs:
        scores = [
            f"{scores[run['stage']]:.2f}" if run["stage"] in scores else ""
            for scores in (run["psnr"], run["best"])
        ]
        steps = f"{run['step']}/{run['steps']}"
        table.add_row(escape(run["folder"]), run["strategy"], run["state"], run["stage"], steps, *scores)
    return table
