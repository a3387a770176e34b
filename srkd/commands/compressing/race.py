"""A race of candidates: each distilled for a while, the better half goes on for twice as long (successive
halving, Jamieson & Talwalkar 2016, arXiv 1502.07943)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srkd.commands.compressing import training
from srkd.commands.compressing.pipeline import RACE_SHARE, Pipeline
from srkd.commands.compressing.recipes import RECIPES, choose_recipe
from srkd.commands.compressing.teacher import Traits
from srkd.files import hash_file, write_text
from srkd.search.choosing import Row, restore
from srkd.terminal import say


def race(
    pipeline: Pipeline, traits: Traits, settings: training.Settings, runners: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Trains the best candidates with the first phase of the student's recipe, and gives the one that gets
    furthest: the teacher decides, since that phase imitates it where the recipe does.

    Args:
        pipeline: of the command.
        traits: the teacher's.
        settings: what all training shares.
        runners: the candidates, as `Row.to_json` gives them, the best expected one first.
    """
    rows = [restore(one) for one in runners]
    seconds = pipeline.all_training_seconds(traits) * RACE_SHARE
    # As many rounds as it takes to leave one; each has as much time as the others.
    rounds = max(len(rows) - 1, 1).bit_length()
    said: list[str] = []
    weights: dict[str, Path] = {}
    for number in range(rounds):
        scores = {}
        for row in rows:
            found = _leg(pipeline, traits, settings, row, number, seconds / rounds / len(rows), weights)
            weights[row.candidate.name] = pipeline.steps.folder / found["weights"]
            scores[row.candidate.name] = found["psnr"]
        rows = sorted(rows, key=lambda row: -scores[row.candidate.name])
        said.append(", ".join(f"{row.candidate.name} {scores[row.candidate.name]:.2f} dB" for row in rows))
        say(f"race, round {number + 1}: {said[-1]}")
        rows = rows[: (len(rows) + 1) // 2]
        if len(rows) == 1:
            break
    pipeline.raced = said
    say(f"{rows[0].candidate.name} wins the race")
    return rows[0].to_json()


def _leg(
    pipeline: Pipeline,
    traits: Traits,
    settings: training.Settings,
    row: Row,
    number: int,
    seconds: float,
    weights: Mapping[str, Path],
) -> dict[str, Any]:
    """A candidate's training in a round, from where the round before left it: its last `weights`, and `psnr`
    on the held-out photographs."""
    phase = RECIPES[choose_recipe(traits, False, False)][0]
    name = row.candidate.name

    def work(place: Path) -> dict[str, Any]:
        start, plan_file = weights.get(name, place / "start.safetensors"), place / "plan.json"
        # Steps are timed once: an interrupted leg continues with as many.
        if not plan_file.is_file():
            how = ""
            if name not in weights:
                trained = pipeline.trained(traits)
                how = training.make_start(row.candidate, pipeline.scale, settings.seed, trained, start)["how"]
            gentle = how == "same"
            (steps,) = training.plan_steps(
                settings, [phase], start, seconds / phase.share, gentle, place / "scratch"
            )
            write_text(plan_file, json.dumps({"plan": steps, "gentle": gentle}))
        run = training.train_phase(
            settings, phase, start, place / "run", **json.loads(plan_file.read_text("utf-8"))
        )
        last = list(run.weights.values())[-1].relative_to(pipeline.steps.folder)
        return {"weights": str(last), "psnr": list(run.psnr.values())[-1]}

    inputs = {
        "candidate": name,
        "options": dict(row.candidate.options),
        "photographs": pipeline.steps.done["photographs"]["inputs"],
        "before": hash_file(weights[name], 16) if name in weights else None,
        "hours": pipeline.request.hours,
        "fresh": pipeline.request.fresh,
        "seed": settings.seed,
        "kind": [traits.kind, traits.restoring],
    }
    folder = f"race-{number}-{name.replace(' ', '_')}"
    title = f"the race, round {number + 1}, {name}"
    root = pipeline.steps.folder
    return pipeline.steps.do(folder, title, inputs, work, lambda found: [root / found["weights"]])
