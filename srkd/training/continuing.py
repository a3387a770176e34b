"""What a run continues with: the recipe that it was started with, or more steps of its last stage."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from srkd.config import Stage, merge
from srkd.errors import UsageError
from srkd.recipe import Recipe
from srkd.terminal import say
from srkd.training.checkpoints import check_same_recipe
from srkd.training.logs import read_state
from srkd.training.outputs import weights_path
from srkd.training.requirements import resolve
from srkd.training.schedules import cosine_rate

# What may differ when a finished run is given more steps; that nothing else hides in it is checked.
_STEPS = frozenset(["steps", "stages"])


def continue_from(folder: Path, saved: Mapping[str, Any], recipe: Recipe, allow_changes: bool) -> Recipe:
    """The recipe that a run continues with. Stages that are done keep the steps that they had.

    Args:
        folder: the run's.
        saved: its newest checkpoint.
        recipe: as it was asked for. Of a run whose last stage is done, its stage may have more steps.
        allow_changes: continue although the recipe is another.

    Raises:
        ChangedRunError: the recipe is another.
        UsageError: it has no stage of the checkpoint's name, or the run is finished and no more steps are
            asked for.
    """
    stages, name = resolve(recipe), saved["stage"]
    if name not in stages:
        raise UsageError(
            f"the run in {folder} is in its stage '{name}', which this recipe does not have; restore the "
            "stage, or give another --out"
        )
    names, done = list(stages), saved.get("steps", {})
    earlier = [
        key for key in names[: names.index(name)] if done.get(key, stages[key].steps) != stages[key].steps
    ]
    if earlier:
        shorter = {key: {"steps": done[key]} for key in earlier}
        recipe = replace(recipe, stages=merge(recipe.stages, shorter, "stages"))
        stages = resolve(recipe)
    at_end = name == names[-1] and saved["step"] == done.get(name)
    further = at_end and stages[name].steps > saved["step"]
    # One whose weights are gone ends once more, and writes them.
    kept = weights_path(recipe, name).is_file()
    if at_end and not further and kept and read_state(folder) == "finished":
        raise UsageError(
            f"the run in {folder} is finished, with {saved['step']} steps of {name}; for more, give --resume "
            f"and --steps of more than {saved['step']}, or give another --out"
        )
    only_steps = further and _with_steps(saved["recipe"], name, stages[name].steps) == stages
    changes = _STEPS if only_steps else frozenset()
    check_same_recipe(folder, saved["recipe"], asdict(recipe), allow_changes, changes)
    if further:
        _announce(name, replace(stages[name], steps=saved["step"]), stages[name])
    return recipe


def _with_steps(recipe: Mapping[str, Any], name: str, steps: int) -> dict[str, Stage]:
    stages = Recipe(**recipe).resolve()
    return {**stages, name: replace(stages[name], steps=steps)}


def _announce(name: str, before: Stage, now: Stage) -> None:
    """Says from where to where a stage goes on, and what becomes of its schedule."""
    rate = cosine_rate(now.rate, now.final_rate, before.steps, now.steps)
    said = f"{name} goes on from step {before.steps} to {now.steps} with its optimiser's moments"
    if rate != before.final_rate:
        said += (
            f"; the schedule is that of {now.steps} steps: the rate, {before.final_rate:.2g} at the end, is "
            f"{rate:.2g} now, and falls to {now.final_rate:.2g}"
        )
    terms = [*now.losses.items(), *now.critics.items()]
    scheduled = [key for key, term in terms if term.schedule != "constant" or getattr(term, "ramp", 0)]
    if scheduled or (now.mutual is not None and now.mutual.ramp):
        names = ", ".join([*scheduled, *(["mutual"] if now.mutual else [])])
        said += f"; so are the weights of {names}"
    say(said)
