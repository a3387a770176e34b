"""`srkd compare`: distillation methods against controls without distillation, at equal budget."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table

from srkd.config import load_recipe, merge
from srkd.errors import SrkdError, UsageError
from srkd.files import write_text
from srkd.recipe import CHANGEABLE, Recipe
from srkd.strategies import STRATEGIES
from srkd.terminal import console

# Higher is better for the first two.
_SCORES = ("psnr", "ssim", "lpips")


_RESULT = "result.json"


# Columns of the table for which a terminal has no room.
_ONLY_WRITTEN = ("SSIM", "memory")


@dataclass(frozen=True)
class _Method:
    """A method, or a control, as it is trained: its label, and that of its own control."""

    label: str
    recipe: Recipe
    control: str | None


def compare(
    recipe: str,
    out: str = "runs/compare",
    *,
    methods: str | None = None,
    seeds: int = 3,
    steps: int | None = None,
    jobs: int = 1,
    data: str | None = None,
    teacher: list[str] | str | None = None,
    lpips: str = "st-lpips-alex",
) -> dict[str, Any]:
    """Compare distillation methods with their no-distillation controls, over several seeds.

    For each seed, a method and its control start from the same weights and see the same batches for the same
    number of steps; the control lacks the distillation alone. Scores are those of the last weights on the
    validation images. Run it again to go on: finished runs are not run twice.

    Args:
        recipe: what all have in common, a recipe as for training; `methods` in it may name variants, each a
            mapping of what it changes. A file, or a shipped comparison's name.
        out: folder for the runs, `compare.json`, `compare.md` and `compare.png`.
        methods: which to compare, with commas between: variants that the recipe names, losses (`hint`),
            strategies (`gan2g`), or other recipes; all the recipe's variants when not given.
        seeds: runs of each.
        steps: steps of every stage.
        jobs: runs at a time, which share the CPU's cores unless the recipe says how many threads each has.
            As many as there are cores get the most done in an hour. What several say goes into `RUN.log`.
        data: in place of the recipe's.
        teacher: in place of the recipe's; several may be given.
        lpips: LPIPS variant, `st-lpips-alex` or `st-lpips-vgg` (offline), `lpips-alex` or `lpips-vgg`.

    Returns:
        What `compare.json` holds: for each method its scores by seed, means, and differences to its control
        with paired 95 % confidence intervals.

    Raises:
        UsageError: no such method, or a recipe that cannot be.
        SrkdError: a run failed; the finished ones are kept.
    """
    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, not {seeds}")
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, not {jobs}")
    base = load_recipe(recipe)
    variants = base.pop("methods", None) or {}
    given = {"steps": steps, "data": data, "teacher": teacher}
    base |= {key: value for key, value in given.items() if value is not None}
    names = [name.strip() for name in methods.split(",")] if methods else list(variants)
    if not names:
        raise UsageError(f"{recipe} names no methods; say which with --methods")
    plan = _plan(base, variants, names)
    folder = Path(out)
    runs = [
        replace(method.recipe, seed=seed, out=str(folder / f"{method.label}-{seed}"))
        for seed in range(seeds)
        for method in plan
    ]
    found = _run_all(runs, jobs, lpips)
    results = {method.label: found[index :: len(plan)] for index, method in enumerate(plan)}
    summary = _summarise(plan, results, lpips)
    write_text(folder / "compare.json", json.dumps(summary, indent=1) + "\n")
    _write_table(summary, folder / "compare.md")
    _plot(summary, folder / "compare.png")
    return summary


def _plan(base: Mapping[str, Any], variants: Mapping[str, Any], names: Sequence[str]) -> list[_Method]:
    """The methods, and before each the control that is its own table without distillation; once where several
    share it. A variant that does not distil stands without one."""
    controls: dict[str, str] = {}
    plan: list[_Method] = []
    for name in names:
        # It names folders, so a recipe file goes by its stem.
        label = name if name in variants else Path(name).stem
        overlay = _overlay(name, variants)
        arguments = merge(base, {k: v for k, v in overlay.items() if k not in ("data", "out", "seed")})
        try:
            recipe = Recipe(**{"strategy": "pretrain", **arguments})
        except TypeError as error:
            raise UsageError(f"method {name}: {str(error).split('__init__() ')[-1]}") from error
        recipe = replace(recipe, control=False)
        control = replace(recipe, control=True)
        if recipe.resolve() == control.resolve():
            if name not in variants:
                raise UsageError(f"method {name} distils nothing: its control would be the same")
            plan.append(_Method(label, recipe, None))
            continue
        key = _identity(control)
        if key not in controls:
            controls[key] = "control" if not controls else f"control_{label}"
            plan.append(_Method(controls[key], control, None))
        plan.append(_Method(label, recipe, controls[key]))
    labels = [method.label for method in plan]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"two of the methods and controls would be named {label}; rename or drop one")
    return plan


def _overlay(name: str, variants: Mapping[str, Any]) -> dict[str, Any]:
    """What a method changes in the common recipe."""
    if name in variants:
        return dict(variants[name] or {})
    if name in STRATEGIES:
        return {"strategy": name}
    return load_recipe(name)


def _run_all(runs: Sequence[Recipe], jobs: int, lpips: str) -> list[dict[str, float]]:
    """Each run's result, in the runs' order. After a failure none is begun that has not been."""
    if jobs > 1:
        share = max((os.cpu_count() or 1) // jobs, 1)
        runs = [replace(run, threads=run.threads or share) for run in runs]

    def take(numbered: tuple[int, Recipe]) -> dict[str, float]:
        number, run = numbered
        console.print(f"[{number}/{len(runs)}] {Path(run.out).name}", markup=False)
        return _result(run, lpips, Path(f"{run.out}.log") if jobs > 1 else None)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(take, item) for item in enumerate(runs, 1)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _identity(recipe: Recipe) -> str:
    """Equal for recipes that train the same, whatever they are called."""
    settings = asdict(recipe)
    for key in CHANGEABLE | {"control", "stages", "strategy", "steps", "crop", "batch", "teacher"}:
        settings.pop(key)
    stages = {name: asdict(stage) for name, stage in recipe.resolve().items()}
    teacher = None if recipe.control else recipe.teacher
    text = json.dumps([settings, stages, teacher], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _result(recipe: Recipe, lpips: str, log: Path | None) -> dict[str, float]:
    """Trains and scores a run, which writes into `log` or to the terminal, or reads what an earlier call
    found."""
    folder = Path(recipe.out)
    path = folder / _RESULT
    identity = _identity(recipe)
    found: dict[str, Any] = {}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["identity"] != identity:
            raise UsageError(f"{folder} holds a run of another recipe; give another --out")
        if f"lpips:{lpips}" in found:
            return {**found, "lpips": found[f"lpips:{lpips}"]}
    from srkd.training.checkpoints import is_finished

    last = list(recipe.resolve())[-1]
    weights = folder / (f"{last}.safetensors" if recipe.members == 1 else f"{last}_0.safetensors")
    state = folder / "run.json"
    if not found and not is_finished(recipe):
        _train(recipe, log)
    facts = json.loads(state.read_text(encoding="utf-8"))
    scores = _score(recipe, weights, lpips)
    result = {
        **found,
        "identity": identity,
        "psnr": scores["psnr"],
        "ssim": scores["ssim"],
        f"lpips:{lpips}": scores[lpips],
        "seconds": facts["seconds"],
        "memory": facts["memory"],
    }
    write_text(path, json.dumps(result, indent=1) + "\n")
    return {**result, "lpips": scores[lpips]}


def _train(recipe: Recipe, log: Path | None) -> None:
    """Trains in a process of its own, so that its memory is its own."""
    file = Path(f"{recipe.out}.yaml")
    # Its stages are resolved in the child, from the same arguments.
    write_text(file, yaml.safe_dump(asdict(recipe), sort_keys=False))
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w", encoding="utf-8")) if log else None
        words = [sys.executable, "-m", "srkd.training", str(file)]
        process = stack.enter_context(subprocess.Popen(words, stdout=output, stderr=output))
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # Ctrl-C reaches it too, and it saves a checkpoint first
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise SrkdError(
            f"the run {recipe.out} failed{f', see {log}' if log else ''}; mend it and run the same again, "
            "finished runs are kept"
        )
    file.unlink()


def _score(recipe: Recipe, weights: Path, lpips: str) -> dict[str, float]:
    from srkd.commands.evaluate import score
    from srkd.data import open_data
    from srkd.training.validation import degrade_validation
    from srkd.upscaling.opening import open_runner

    smallest = max(stage.crop for stage in recipe.resolve().values())
    data = open_data(recipe.data, recipe.scale, recipe.val, smallest, recipe.skip_bad)
    if recipe.degradation == "real":
        data = degrade_validation(data, recipe.scale)
    return score(open_runner(weights, "cpu"), data.val, "y-crop", lpips)["mean"]


def _summarise(
    plan: Sequence[_Method], results: Mapping[str, list[dict[str, float]]], lpips: str
) -> dict[str, Any]:
    rows = []
    for method in plan:
        runs = results[method.label]
        row: dict[str, Any] = {"method": method.label, "control": method.control}
        for key in (*_SCORES, "seconds", "memory"):
            row[key] = [run[key] for run in runs]
        if method.control is not None:
            row["difference"] = {
                key: paired_interval(row[key], [run[key] for run in results[method.control]])
                for key in _SCORES
            }
        rows.append(row)
    return {"protocol": "y-crop", "lpips": lpips, "seeds": len(next(iter(results.values()))), "rows": rows}


def paired_interval(values: Sequence[float], controls: Sequence[float]) -> dict[str, float | None]:
    """The mean of `values - controls`, and the half-width of its 95 % confidence interval by Student's t
    (None for a single pair)."""
    from scipy import stats

    gaps = np.subtract(values, controls)
    count = len(gaps)
    if count < 2:
        return {"mean": float(gaps.mean()), "half_width": None}
    width = stats.t.ppf(0.975, count - 1) * gaps.std(ddof=1) / np.sqrt(count)
    return {"mean": float(gaps.mean()), "half_width": float(width)}


def _write_table(summary: Mapping[str, Any], path: Path) -> None:
    """Writes everything as Markdown, and prints of it what a terminal's 80 columns hold."""
    heads = ["method", "PSNR", "SSIM", summary["lpips"], "difference in PSNR", "difference in LPIPS"]
    heads += ["minutes", "memory"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in heads:
        if head not in _ONLY_WRITTEN:
            table.add_column(head.replace(" in ", "\nin "), no_wrap=True)
    for row in summary["rows"]:
        cells = [row["method"], _spread(row["psnr"], 2), _spread(row["ssim"], 4), _spread(row["lpips"], 4)]
        gaps = row.get("difference")
        cells += [_gap(gaps["psnr"], 3), _gap(gaps["lpips"], 4)] if gaps else ["", ""]
        cells += [f"{np.mean(row['seconds']) / 60:.1f}", f"{np.max(row['memory']) / 2**30:.2f} GiB"]
        lines.append(f"| {' | '.join(cells)} |")
        shown = zip(heads, cells, strict=True)
        table.add_row(*(cell.replace(" ±", "\n±") for head, cell in shown if head not in _ONLY_WRITTEN))
    note = (
        f"Mean and standard deviation over {summary['seeds']} seeds on the validation images, protocol "
        f"{summary['protocol']}; differences to the control at equal steps with their paired 95 % confidence "
        "intervals."
    )
    write_text(path, "\n".join([*lines, "", note, ""]))
    console.print(table)
    console.print(f"{note} -> {path.parent}")


def _spread(values: Sequence[float], digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _gap(found: Mapping[str, float], digits: int) -> str:
    width = f" ± {found['half_width']:.{digits}f}" if found["half_width"] is not None else ""
    return f"{found['mean']:+.{digits}f}{width}"


def _plot(summary: Mapping[str, Any], path: Path) -> None:
    """Differences to the control, with their intervals, PSNR and LPIPS side by side; nothing without any."""
    from matplotlib.figure import Figure

    from srkd.files import replacing

    rows = [row for row in summary["rows"] if "difference" in row]
    if not rows:
        return
    figure = Figure(figsize=(9, 1.2 + 0.45 * len(rows)), layout="constrained")
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
        f"difference to the control, 95 % interval over {seeds} seed{'s' * (seeds > 1)}", fontsize=11
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
