"""`srkd extend`: continual learning, a student for a new domain that keeps the old one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.table import Table

from srkd.data import Pair
from srkd.files import StrPath, replacing, write_text
from srkd.recipe import Recipe
from srkd.terminal import Progress, heading, reports, say, show

# PSNR in dB by model and domain.
Scores = dict[str, dict[str, float]]


@reports
def extend(
    weights: StrPath,
    data: StrPath,
    *,
    old: StrPath | None = None,
    replay: StrPath | None = None,
    taps: Literal["outputs", "all"] = "outputs",
    weight: float = 0.3,
    out: StrPath = "runs/extend",
    steps: int = 2000,
    rate: float = 2e-4,
    batch: int = 16,
    crop: int = 96,
    seed: int = 0,
    threads: int | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, dict[str, float]]:
    """Adapt a student to a new domain without forgetting the old.

    Trains twice for the same number of steps: with the loss `forgetting`, where a frozen copy of the student
    teaches it on images of the new domain, and without. Both are scored on both domains, and what was gained
    and forgotten is reported. Run it again to resume.

    Args:
        weights: the student: weights of this package, or a shipped name.
        data: images of the new domain, in the forms of training data.
        old: images of the old domain to score on, in the forms of `srkd evaluate`. Without it, those that
            `replay` holds out for validation, or else the photographs that scikit-image installs.
        replay: images of the old domain to train on too, as often as on the new.
        taps: what must stay alike: `outputs`, or `all` for features too.
        weight: of the loss `forgetting`. From about 1, nothing new is learned.
        out: folder. The result is `extended.safetensors`; the two runs are in `with` and `without`.
        steps: optimiser steps of each run.
        rate: initial learning rate.
        batch: crops per step.
        crop: side of the HR crops, in pixels.
        seed: sets the order of the data.
        threads: CPU threads. Without it, all cores.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        PSNR in dB (`y-crop`) of `before`, `without` and `with`, on the domains `old` and `new`.

    Raises:
        UsageError: no such weights or data, or weights of another package.
        SrkdError: training failed.
    """
    from srkd.commands.evaluate import open_benchmark
    from srkd.data import open_data
    from srkd.training.requirements import resolve
    from srkd.weights.store import load_own_generator

    scale = load_own_generator(weights).scale
    folder = Path(out)
    forgetting = {"weight": weight, "options": {"taps": taps}}
    recipe = Recipe(
        data=str(data),
        strategy="extend",
        start=str(weights),
        replay=replay and str(replay),
        stages={"extend": {"rate": rate, "losses": {"forgetting": forgetting}}},
        scale=scale,
        steps=steps,
        batch=batch,
        crop=crop,
        seed=seed,
        threads=threads,
    )
    crop = resolve(recipe)["extend"].crop
    new = open_data(str(data), scale, smallest=crop).val
    if old is None and replay is not None:
        remembered = open_data(str(replay), scale, smallest=crop).val
    else:
        remembered = list(open_benchmark(str(old or "embedded"), scale)[1])
    extended = _train_both(recipe, folder)
    domains = {"old": remembered, "new": new}
    results = _score({"before": weights, **extended}, domains, scale)
    show(_table(results))
    target = folder / "extended.safetensors"
    with replacing(target) as temporary:
        temporary.write_bytes(extended["with"].read_bytes())
    report = {"weights": Path(weights).name, "taps": taps, "weight": weight, "steps": steps}
    report |= {"replay": replay is not None, "psnr": results}
    write_text(folder / "report.json", json.dumps(report, indent=1) + "\n")
    say(f"-> {target}")
    return results


def _train_both(recipe: Recipe, folder: Path) -> dict[str, Path]:
    """The weights `without` and `with` the loss against forgetting; finished runs are not repeated."""
    from srkd.training.checkpoints import is_finished
    from srkd.training.run import run

    found = {}
    for name, control in (("without", True), ("with", False)):
        heading(f"{name} the loss against forgetting")
        arm = replace(recipe, control=control, out=str(folder / name))
        try:
            if not is_finished(arm):
                run(arm, resume=True)
        except KeyboardInterrupt:
            say("run the same command again to resume")
            raise
        found[name] = folder / name / "extend.safetensors"
    return found


def _score(models: Mapping[str, StrPath], domains: Mapping[str, Sequence[Pair]], scale: int) -> Scores:
    from srkd.commands.evaluating.scoring import score
    from srkd.upscaling.opening import open_runner

    results: Scores = {}
    for name, model in models.items():
        runner = open_runner(model, "cpu", scale)
        results[name] = {
            domain: score(runner, pairs, "y-crop", "none")["mean"]["psnr"]
            for domain, pairs in domains.items()
        }
    return results


def _table(results: Scores) -> Table:
    table = Table("", "old domain, dB", "forgotten", "new domain, dB", "gained")
    start = results["before"]
    for name, found in results.items():
        cells = []
        for domain in ("old", "new"):
            gap = f"{found[domain] - start[domain]:+.2f}" if name != "before" else ""
            cells += [f"{found[domain]:.2f}", gap]
        table.add_row(name, *cells)
    return table
