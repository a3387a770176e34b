"""`srkd runs`: training runs and how far they are."""

import json
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.table import Table

from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.terminal import Progress, answer, note, reports
from srkd.training.logs import LOCK, STATE

_SHOWN = ("state", "strategy", "stage", "step", "steps", "psnr", "best")


@reports
def list_runs(
    folder: StrPath = "runs", *, verbose: bool = True, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """List training runs, their progress and best scores.

    Args:
        folder: searched with everything below it.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        For each run: `folder`, `state` (`running`, `finished`, `stopped`, `failed`, or `interrupted` when it
        was killed), `strategy`, `stage`, `step`, `steps` (of the stage), `psnr` and `best` (validation PSNR
        in dB by stage).

    Raises:
        UsageError: no such folder, or no run in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}")
    runs = []
    for path in sorted(root.rglob(STATE)):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            found["folder"] = str(path.parent)
            if missing := [key for key in _SHOWN if key not in found]:
                raise ValueError(f"it does not say {missing[0]}")
            if found["state"] == "running" and not _is_locked(path.parent):
                found["state"] = "interrupted"
            runs.append(found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            note(f"{path} is damaged ({error})", "left out")
    if not runs:
        raise UsageError(f"{root} holds no runs")
    answer(_table(runs))
    return runs


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
        table.add_row(run["folder"], run["strategy"], run["state"], run["stage"], steps, *scores)
    return table


def _is_locked(folder: Path) -> bool:
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except (Timeout, OSError):
        return True
