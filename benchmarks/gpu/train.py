"""Trains recipes one after another in so many minutes: their steps are fitted to the measured speed.

    python benchmarks/gpu/train.py A.yaml [B.yaml ...] --shares 1 2 --minutes 6 [--dry-run]

Each recipe names its `out`; a later one may start from an earlier one's weights. The stages keep the ratio of
their steps. Called again, finished runs are left alone and others go on with the steps that were fitted.
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import run_script, write_json
from benchmarks.gpu.places import STEPS, read_json
from srkd.config import load_recipe
from srkd.recipe import Recipe
from srkd.training.checkpoints import is_finished
from srkd.training.costs import measure_stage, opened
from srkd.training.run import run

# Of a run's time that its steps get; the rest is for start, validation and checkpoints.
STEPPING = 0.88
FEWEST = 50


def fit(recipe: Recipe, seconds: float, dry: bool) -> dict[str, int]:
    """The steps of each stage that fit into so many seconds, this measurement included."""
    began = time.monotonic()
    with opened(recipe) as job:
        costs = {name: measure_stage(job, name, 1 if dry else 30) for name in job.stages}
    whole = sum(cost.seconds_per_step * cost.steps for cost in costs.values())
    factor = max(0.0, seconds - 2 * (time.monotonic() - began)) * STEPPING / whole
    for name, cost in costs.items():
        each = f"{1000 * cost.seconds_per_step:.1f} ms and {cost.teraflops_per_step:.2f} TFLOP a step"
        print(f"{recipe.out}, {name}: {each}", flush=True)
    return {name: STEPS if dry else max(FEWEST, int(factor * cost.steps)) for name, cost in costs.items()}


def train(path: Path, seconds: float, dry: bool) -> None:
    """Fits and trains one recipe, or goes on with it."""
    content: dict[str, Any] = load_recipe(path)
    recipe = Recipe(**content)
    fitted = Path(f"{recipe.out}.steps.json")
    fitted.parent.mkdir(parents=True, exist_ok=True)
    steps = read_json(fitted)
    if steps is None:
        steps = fit(recipe, seconds, dry)
        write_json(fitted, steps)
    overrides = {name: {**(recipe.stages.get(name) or {}), "steps": count} for name, count in steps.items()}
    pause = max(1, max(steps.values()) // 4)
    recipe = replace(
        recipe, stages={**recipe.stages, **overrides}, save_every=pause, validate_every=pause + 1, retries=1
    )
    if is_finished(recipe):
        print(f"{recipe.out} is finished", flush=True)
        return
    began = time.monotonic()
    run(recipe, resume=True)
    print(f"{recipe.out}: {steps} steps in {time.monotonic() - began:.0f} s", flush=True)


def work(arguments: Namespace) -> None:
    shares = arguments.shares or [1.0] * len(arguments.recipes)
    end = time.monotonic() + 60 * arguments.minutes
    for number, path in enumerate(arguments.recipes):
        share = shares[number] / sum(shares[number:])
        train(path, share * (end - time.monotonic()), arguments.dry_run)


def main() -> None:
    parser = ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("recipes", type=Path, nargs="+")
    add("--shares", type=float, nargs="*", help="of the time; equal when not given")
    add("--minutes", type=float, required=True)
    add("--dry-run", action="store_true", help=f"{STEPS} steps of each stage")
    run_script(parser, work)


if __name__ == "__main__":
    main()
