"""`srkd compare`: distillation methods against controls without distillation, at equal budget."""

import contextlib
import contextvars
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from srkd.config import load_recipe, merge
from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath, write_text
from srkd.recipe import CHANGEABLE, Recipe
from srkd.reports.comparison import plot_differences, write_table
from srkd.strategies import STRATEGIES
from srkd.terminal import Progress, reports, say, silence
from srkd.terminal import progress as progress_of

_SCORES = ("psnr", "ssim", "lpips")

_RESULT = "result.json"


@dataclass(frozen=True)
class _Method:
    """A method, or a control.

    Args:
        label: names its runs and its row.
        recipe: how it is trained.
        control: the label of its control; None for controls, and for what does not distil.
    """

    label: str
    recipe: Recipe
    control: str | None


@reports
def compare(
    recipe: StrPath,
    out: StrPath = "runs/compare",
    *,
    methods: str | None = None,
    seeds: int = 3,
    steps: int | None = None,
    jobs: int = 1,
    data: StrPath | None = None,
    teacher: Sequence[StrPath] | StrPath | None = None,
    lpips: str = "st-lpips-alex",
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare methods with controls trained without distillation.

    For each seed, a method and its control start from the same weights and see the same batches for the same
    number of steps; only the distillation is missing from the control. The last weights are scored on the
    validation images. Run it again to resume: finished runs are not repeated.

    Args:
        recipe: what all runs share: a training recipe's file, or a shipped comparison's name. Under `methods`
            it may name variants, each a mapping of what it changes.
        out: folder for the runs, `compare.json`, `compare.md` and `compare.png`.
        methods: which to compare, separated by commas: variants of the recipe, losses (`hint`), strategies
            (`gan2g`), or other recipes. Without it, all of the recipe's variants.
        seeds: runs of each method.
        steps: steps of every stage.
        jobs: how many runs to train at a time. They share the CPU's cores unless the recipe sets `threads`;
            one run per core gets the most done. Each run's output goes to `RUN.log`.
        data: in place of the recipe's.
        teacher: in place of the recipe's. May be given several times.
        lpips: LPIPS variant, `st-lpips-alex` or `st-lpips-vgg` (offline), `lpips-alex` or `lpips-vgg`.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The contents of `compare.json`: for each method its scores by seed, means, and differences from its
        control with paired 95 % confidence intervals.

    Raises:
        UsageError: no such method, or an invalid recipe.
        SrkdError: a run failed; finished runs are kept.
    """
    for option, value in (("seeds", seeds), ("jobs", jobs)):
        if value < 1:
            raise UsageError(f"--{option} must be at least 1, not {value}")
    base = load_recipe(str(recipe))
    variants = base.pop("methods", None) or {}
    given = {"steps": steps, "data": data and str(data), "teacher": _names(teacher)}
    base |= {key: value for key, value in given.items() if value is not None}
    names = [name.strip() for name in methods.split(",")] if methods else list(variants)
    if not names:
        raise UsageError(f"{recipe} names no methods; name some with --methods")
    plan = _plan(base, variants, names)
    folder = Path(out)
    runs = [
        replace(method.recipe, seed=seed, out=str(folder / f"{method.label}-{seed}"))
        for seed in range(seeds)
        for method in plan
    ]
    found = _run_all(runs, jobs, lpips, verbose)
    results = {method.label: found[index :: len(plan)] for index, method in enumerate(plan)}
    summary = _summarise(plan, results, lpips)
    write_text(folder / "compare.json", json.dumps(summary, indent=1) + "\n")
    write_table(summary, folder / "compare.md")
    plot_differences(summary, folder / "compare.png")
    return summary


def _names(given: Sequence[StrPath] | StrPath | None) -> list[str] | str | None:
    """Paths as a recipe holds them."""
    if given is None or isinstance(given, str | Path):
        return given and str(given)
    return [str(path) for path in given]


def _plan(base: Mapping[str, Any], variants: Mapping[str, Any], names: Sequence[str]) -> list[_Method]:
    """The methods, each after its control: the same recipe without its distillation. Methods whose controls
    are equal share one; a variant that does not distil has none."""
    controls: dict[str, str] = {}
    plan: list[_Method] = []
    for name in names:
        # The label names folders, so a recipe file is labelled by its stem.
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
                raise UsageError(f"method {name} distils nothing: its control would be identical")
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
            raise UsageError(f"two methods or controls would be named {label}; rename or drop one")
    return plan


def _overlay(name: str, variants: Mapping[str, Any]) -> dict[str, Any]:
    """What a method changes in the shared recipe."""
    if name in variants:
        return dict(variants[name] or {})
    if name in STRATEGIES:
        return {"strategy": name}
    return load_recipe(name)


def _run_all(runs: Sequence[Recipe], jobs: int, lpips: str, verbose: bool) -> list[dict[str, float]]:
    """Each run's result, in the runs' order. After a failure, no further run is started."""
    if jobs > 1:
        share = max((os.cpu_count() or 1) // jobs, 1)
        runs = [replace(run, threads=run.threads or share) for run in runs]
    # Runs that share a terminal would overwrite one another's lines.
    apart = jobs > 1 or not verbose

    def take(number: int, run: Recipe) -> dict[str, float]:
        say(f"[{number}/{len(runs)}] {Path(run.out).name}")
        result = _result(run, lpips, Path(f"{run.out}.log") if apart else None)
        advance(1)
        return result

    with _advancing(len(runs), apart) as advance, ThreadPoolExecutor(jobs) as pool:
        # Each in a copy of this context, so that it is as quiet as the caller asked for.
        futures = [pool.submit(contextvars.copy_context().run, take, *item) for item in enumerate(runs, 1)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _advancing(total: int, shown: bool) -> Iterator[Callable[[float], None]]:
    """Yields a function that counts runs; the bar is shown where the runs do not show their own."""
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if shown else silence():
            advance = stack.enter_context(progress_of("comparing", total))
        yield advance


def _identity(recipe: Recipe) -> str:
    """A hash that is equal for recipes that train the same, whatever they are called."""
    settings = asdict(recipe)
    for key in CHANGEABLE | {"control", "stages", "strategy", "steps", "crop", "batch", "teacher"}:
        settings.pop(key)
    stages = {name: asdict(stage) for name, stage in recipe.resolve().items()}
    teacher = None if recipe.control else recipe.teacher
    text = json.dumps([settings, stages, teacher], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _result(recipe: Recipe, lpips: str, log: Path | None) -> dict[str, float]:
    """Trains and scores a run, or reads the result of an earlier call. The run prints to `log`, or to the
    terminal."""
    folder = Path(recipe.out)
    path = folder / _RESULT
    identity = _identity(recipe)
    found: dict[str, Any] = {}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["identity"] != identity:
            raise UsageError(f"{folder} holds a run of another recipe; choose another --out")
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
    """Trains in a separate process, so that its peak memory can be measured."""
    file = Path(f"{recipe.out}.yaml")
    # The child resolves the stages, from the same arguments.
    write_text(file, yaml.safe_dump(asdict(recipe), sort_keys=False))
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("w", encoding="utf-8")) if log else None
        words = [sys.executable, "-m", "srkd.training", str(file)]
        process = stack.enter_context(subprocess.Popen(words, stdout=output, stderr=output))
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # Ctrl-C reaches the child too, which saves a checkpoint before it ends
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise SrkdError(
            f"the run {recipe.out} failed{f', see {log}' if log else ''}; fix the cause and run the same "
            "command again, finished runs are kept"
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
    """The 95 % confidence interval of a mean paired difference, by Student's t.

    Returns:
        `mean` of `values - controls`, and the interval's `half_width`: None for a single pair.
    """
    gaps = np.subtract(values, controls)
    if len(gaps) < 2:
        half_width = None
    elif np.ptp(gaps) == 0:
        half_width = 0.0  # where the t statistic is undefined
    else:
        from scipy.stats import ttest_rel

        interval = ttest_rel(values, controls).confidence_interval(0.95)
        half_width = float(interval.high - interval.low) / 2
    return {"mean": float(gaps.mean()), "half_width": half_width}
