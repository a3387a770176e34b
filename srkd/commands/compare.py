"""`srkd compare`: distillation methods against controls without distillation, at equal budget."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srkd.arguments import check_whole
from srkd.config import drop_from_stages, load_recipe, merge
from srkd.engines import Engine, open_engine
from srkd.errors import UsageError
from srkd.files import StrPath, write_text
from srkd.recipe import Recipe
from srkd.strategies import STRATEGIES
from srkd.terminal import Progress, reports, say

# What all runs of a comparison share, or is set for each.
_SHARED = ("data", "out", "seed")


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
    engine: Engine = "local",
    address: str | None = None,
    data: StrPath | None = None,
    teacher: Sequence[StrPath] | StrPath | None = None,
    lpips: str = "st-lpips-alex",
    curves: bool = False,
    test: Sequence[StrPath] | StrPath | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare methods with controls trained without distillation.

    For each seed, a method and its control start from the same weights and see the same batches for the same
    number of steps; only the distillation is missing from the control. The last weights are scored on the
    validation images. Everything is checked before the first step: that each method can be trained with its
    teacher, scored and written, and how long that will take. Run it again to resume: finished runs are not
    repeated, interrupted ones continue.

    Adversarial training trades PSNR for LPIPS, so a lower LPIPS at a lower PSNR proves nothing. `curves`
    scores each run at eleven weights between its PSNR-trained start and its end, and compares the curves:
    BD-LPIPS is the mean difference in LPIPS at equal PSNR, BD-PSNR that in PSNR at equal LPIPS
    (srkd.metrics.bjontegaard).

    Args:
        recipe: what all runs share: a training recipe's file, or a shipped comparison's name. Under `methods`
            it may name variants, each a mapping of what it changes.
        out: folder for the runs, `compare.json`, `compare.md`, `compare.png`, and `curves.png`.
        methods: which to compare, separated by commas: variants of the recipe, losses (`hint`), strategies
            (`gan2g`), or other recipes. Without it, all of the recipe's variants.
        seeds: runs of each method.
        steps: steps of every stage, in place of the recipe's.
        jobs: how many runs to train at a time. They share the CPU's cores unless the recipe sets `threads`;
            one run per core gets the most done. Each run's output goes to `RUN.log`.
        engine: where runs are trained and scored: `local`, on this machine, or `ray`, by the workers of a Ray
            cluster: each on a GPU where it has some, else on as many cores as the recipe has `threads`, 1
            when it does not say.
        address: of the Ray cluster; the RAY_ADDRESS of the environment, or one on this machine, when not
            given. Its nodes must share the folders.
        data: in place of the recipe's.
        teacher: in place of the recipe's. May be given several times.
        lpips: LPIPS variant, `st-lpips-alex` or `st-lpips-vgg` (offline), `lpips-alex` or `lpips-vgg`, or
            `none`.
        curves: compare runs as curves of PSNR and LPIPS too, for ten more scorings of each.
        test: a benchmark to score the last weights on too, in the forms of `srkd evaluate`. May be given
            several times.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The contents of `compare.json`: for each method its scores by seed, differences from its control with
        paired 95 % confidence intervals (None for one seed), and what follows from them.

    Raises:
        UsageError: no such method, or one that cannot be trained as it stands; nothing was trained.
        SrkdError: a run failed; finished runs are kept.
    """
    for option, value in (("seeds", seeds), ("jobs", jobs)):
        check_whole(f"--{option}", value, 1)
    if engine == "ray" and jobs > 1:
        raise UsageError("--jobs is for one machine; Ray runs as many at a time as it has GPUs or cores for")
    base = load_recipe(str(recipe))
    variants = _take_variants(base, recipe)
    given = {"steps": steps, "data": data and str(data), "teacher": _names(teacher)}
    base |= {key: value for key, value in given.items() if value is not None}
    names = [name.strip() for name in methods.split(",")] if methods else list(variants)
    if not names:
        raise UsageError(f"{recipe} names no methods; name some with --methods")
    plan = _plan(base, variants, names, {"steps"} if steps is not None else set())
    from srkd.commands.comparing.checks import check_runs, check_writable, open_measures
    from srkd.commands.comparing.runs import run_all, run_there, share_threads
    from srkd.commands.comparing.summary import summarise
    from srkd.metrics.scores import protocol_name

    folder = Path(out)
    check_writable(folder)
    measures = open_measures(lpips, curves, test, plan[0].recipe.scale)
    runs = [
        replace(method.recipe, seed=seed, out=str(folder / f"{method.label}-{seed}"))
        for seed in range(seeds)
        for method in plan
    ]
    if engine == "ray":
        runs = [replace(run, threads=run.threads or 1) for run in runs]
    runs = share_threads(runs, jobs)
    by_method = {method.label: runs[index :: len(plan)] for index, method in enumerate(plan)}
    try:
        with open_engine(engine, address) as cluster:
            bicubic = check_runs(by_method, measures, jobs)
            found = run_there(cluster, runs, measures) if cluster else run_all(runs, jobs, measures, verbose)
    except KeyboardInterrupt:
        say("interrupted; run the same command again to resume")
        raise
    results = {method.label: found[index :: len(plan)] for index, method in enumerate(plan)}
    controls = {method.label: method.control for method in plan}
    protocol = protocol_name("y-crop", plan[0].recipe.scale)
    summary = {**summarise(controls, results, lpips), "protocol": protocol, "bicubic": bicubic}
    _write(summary, folder)
    return summary


def _write(summary: Mapping[str, Any], folder: Path) -> None:
    from srkd.reports.comparison import plot_curves, plot_differences, write_table

    write_text(folder / "compare.json", json.dumps(summary, indent=1) + "\n")
    plot_differences(summary, folder / "compare.png")
    plot_curves(summary, folder / "curves.png")
    write_table(summary, folder / "compare.md")


def _names(given: Sequence[StrPath] | StrPath | None) -> list[str] | str | None:
    """Paths as a recipe holds them."""
    if given is None or isinstance(given, str | Path):
        return given and str(given)
    return [str(path) for path in given]


def _take_variants(base: dict[str, Any], recipe: StrPath) -> Mapping[str, Any]:
    """The recipe's methods, taken out of it."""
    variants = base.pop("methods", None) or {}
    if not isinstance(variants, Mapping):
        raise UsageError(f"{recipe}: methods are a mapping of names to what each changes, not {variants!r}")
    return variants


def _plan(
    base: Mapping[str, Any], variants: Mapping[str, Any], names: Sequence[str], everywhere: set[str]
) -> list[_Method]:
    """The methods, each after its control: the same recipe without its distillation. Methods whose controls
    are equal share one; a variant that does not distil has none. The fields `everywhere` are those of `base`
    in all stages."""
    from srkd.commands.comparing.runs import identify

    controls: dict[str, str] = {}
    plan: list[_Method] = []
    for name in names:
        # The label names folders, so a recipe file is labelled by its stem.
        label = name if name in variants else Path(name).stem
        overlay = _overlay(name, variants)
        # A recipe's own place is not meant here; a variant's would make it another comparison.
        shared = [key for key in _SHARED if name in variants and key in overlay]
        if shared:
            raise UsageError(f"method {name}: {', '.join(shared)} cannot differ between methods")
        arguments = merge(base, {k: v for k, v in overlay.items() if k not in _SHARED})
        arguments |= {key: base[key] for key in everywhere}
        arguments["stages"] = drop_from_stages(arguments.get("stages", {}), everywhere)
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
        key = identify(control)
        if key not in controls:
            controls[key] = "control" if not controls else f"control_{label}"
            plan.append(_Method(controls[key], control, None))
        plan.append(_Method(label, recipe, controls[key]))
    scales = {method.recipe.scale for method in plan}
    if len(scales) > 1:
        raise UsageError(f"scores of x{' and x'.join(map(str, sorted(scales)))} cannot be compared")
    labels = [method.label for method in plan]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"two methods or controls would be named {label}; rename or drop one")
    return plan


def _overlay(name: str, variants: Mapping[str, Any]) -> dict[str, Any]:
    """What a method changes in the shared recipe."""
    if name in variants:
        if not isinstance(variants[name], Mapping | None):
            raise UsageError(f"method {name} is a mapping of what it changes, not {variants[name]!r}")
        return dict(variants[name] or {})
    if name in STRATEGIES:
        return {"strategy": name}
    return load_recipe(name)
