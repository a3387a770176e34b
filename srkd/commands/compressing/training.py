"""The student's training: where it starts from, how many steps there is time for, and its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srkd.commands.compressing.recipes import LEAST_STEPS, RECIPES, Phase
from srkd.config import merge
from srkd.errors import UsageError
from srkd.models.base import Generator
from srkd.recipe import Recipe
from srkd.search.candidates import Candidate
from srkd.terminal import say, silence
from srkd.training import Run
from srkd.weights.catalogue import list_shipped

# The seconds between checkpoints, and the validations of a run.
_SAVE_EVERY, _VALIDATIONS = 60, 5


@dataclass(frozen=True)
class Settings:
    """What all of a command's runs share.

    Args:
        data: the packed photographs.
        val: the folder of held-out ones.
        teacher: its weights.
        discriminator: the teacher's, if it has one.
        scale: the super-resolution factor.
        seed: decides initial weights and crops.
        device: where to train.
        precision: a precision of Lightning Fabric.
    """

    data: str
    val: str
    teacher: str
    discriminator: str | None
    scale: int
    seed: int
    device: str
    precision: str


def load_trained(teacher: Generator | None) -> dict[str, Generator]:
    """The networks that a student may start from, by name: the teacher, and what is shipped.

    Args:
        teacher: its network where it is this package's and was trained for PSNR.
    """
    from srkd.weights.store import load_generator

    found: dict[str, Generator] = {} if teacher is None else {"the teacher": teacher}
    for name, entry in list_shipped().items():
        # Sharp ones have left what perceptual training starts from.
        if str(entry.get("file", "")).endswith("_psnr.safetensors"):
            found[name] = load_generator(name)
    return found


def make_start(
    candidate: Candidate, scale: int, seed: int, trained: Mapping[str, Generator], target: Path
) -> dict[str, str]:
    """Writes the weights that a student starts from: those of the nearest trained network of its
    architecture, with channels chosen or added, or fresh ones where there is none.

    Args:
        candidate: the student.
        scale: the super-resolution factor.
        seed: of fresh weights.
        trained: the networks that it may start from, by name; none for fresh weights.
        target: the file to write.

    Returns:
        `said`: where they come from, in words; `how`: `same`, `resized` or `fresh`.
    """
    import torch

    from srkd.models.resizing import can_resize, resize
    from srkd.weights.store import save_generator

    torch.manual_seed(seed)
    network = candidate.create(scale)
    fitting = {name: source for name, source in trained.items() if can_resize(source, network)}
    if not fitting:
        save_generator(network, target)
        return {"said": "fresh weights", "how": "fresh"}
    from srkd.models.cost import count_parameters

    own = count_parameters(network)
    # The nearest in size; of one size, the first shipped.
    name = min(fitting, key=lambda key: abs(count_parameters(fitting[key]) / own - 1))
    source = fitting[name]
    resize(source, network)
    save_generator(network, target, start=name)
    if (source.config or {}) == (network.config or {}):
        return {"said": f"{name}, as it is", "how": "same"}
    return {"said": f"{name}, its {count_parameters(source):,} parameters made {own:,}", "how": "resized"}


def phases_for(recipe: str, how: str) -> list[Phase]:
    """The phases of a recipe. A student that starts from trained weights as they are needs no training for
    PSNR before the adversarial one."""
    phases = list(RECIPES[recipe])
    if how == "same" and len(phases) > 1 and not phases[0].taught:
        phases = [replace(phase, share=1.0) for phase in phases[1:]]
    return phases


def make_recipe(
    settings: Settings,
    phase: Phase,
    start: Path,
    out: Path,
    plan: Mapping[str, Any],
    gentle: bool,
    control: bool = False,
) -> Recipe:
    """A phase's run.

    Args:
        settings: what all runs share.
        phase: which.
        start: the weights to start from.
        out: its folder.
        plan: `steps` of each stage, and the steps between checkpoints, `save_every`.
        gentle: whether the start is trained already, so that a high rate would undo more than it brings.
        control: whether to leave out the teacher.
    """
    steps = plan["steps"]
    stages: dict[str, Any] = {}
    for name, changes in phase.stages.items():
        if changes is None:
            stages[name] = None
            continue
        count = steps[name]
        # An average over more than a tenth of a stage would be behind it.
        stages[name] = {**changes, "steps": count, "ema": round(min(0.999, 1 - 10 / max(count, 20)), 4)}
        if gentle and stages[name].get("optimizer") == "muon":
            stages[name]["rate"] = 5e-4
    if control and phase.control is not None:
        stages = merge(stages, phase.control)
    total = sum(steps.values())
    taught = phase.taught and not control
    return Recipe(
        settings.data,
        phase.strategy,
        out=str(out),
        start=str(start.resolve()),
        teacher=settings.teacher if taught else None,
        teacher_discriminator=settings.discriminator if taught and phase.strategy == "gan2gan" else None,
        control=control and phase.control is None,
        val=settings.val,
        scale=settings.scale,
        stages=stages,
        seed=settings.seed,
        device=settings.device,
        precision=settings.precision,
        validate_every=max(total // _VALIDATIONS, 1),
        save_every=plan["save_every"],
        skip_bad=True,
    )


def plan_steps(
    settings: Settings, phases: Sequence[Phase], start: Path, seconds: float, gentle: bool, scratch: Path
) -> list[dict[str, Any]]:
    """How many steps each stage has time for, from two real steps of each.

    Args:
        settings, start, gentle: as for `make_recipe`.
        phases: what is to be run.
        seconds: for all of them.
        scratch: a folder that is not written.

    Returns:
        For each phase `steps` and `seconds_per_step` by stage, and `save_every`.

    Raises:
        UsageError: there is too little time; what it takes is said.
    """
    from srkd.training.costs import measure_stage, opened

    plans = []
    for phase in phases:
        steps = {name: 1000 for name, changes in phase.stages.items() if changes is not None}
        recipe = make_recipe(settings, phase, start, scratch, {"steps": steps, "save_every": 1000}, gentle)
        with silence(), opened(recipe) as job:
            speed = {name: measure_stage(job, name).seconds_per_step for name in job.stages}
        budget = {name: seconds * phase.share * phase.parts[name] for name in steps}
        found = {name: int(budget[name] / speed[name]) for name in steps}
        every = max(1, int(_SAVE_EVERY / max(speed.values())))
        plans.append({"phase": phase.name, "steps": found, "seconds_per_step": speed, "save_every": every})
    short = [
        (LEAST_STEPS * plan["seconds_per_step"][name]) / (phase.share * phase.parts[name])
        for phase, plan in zip(phases, plans, strict=True)
        for name, count in plan["steps"].items()
        if count < LEAST_STEPS
    ]
    if short:
        raise UsageError(
            f"--hours leaves {seconds / 60:.2g} minutes for training, and {LEAST_STEPS} steps of each "
            f"stage take "
            f"{max(short) / 60:.2g}; raise --hours {max(short) / seconds:.1f} times"
        )
    return plans


def train_phase(
    settings: Settings,
    phase: Phase,
    start: Path,
    out: Path,
    plan: Mapping[str, Any],
    gentle: bool,
    control: bool = False,
) -> Run:
    """Runs a phase, or what is left of it; the arguments are those of `make_recipe`."""
    from srkd.training.logs import read_state
    from srkd.training.outputs import weights_path
    from srkd.training.run import run

    recipe = make_recipe(settings, phase, start, out, plan, gentle, control)
    taught = " without the teacher" if control else ""
    say(
        f"{phase.name}{taught}: "
        + ", ".join(f"{name} {count:,} steps" for name, count in plan["steps"].items())
    )
    if read_state(out) == "finished":
        # Killed before its step was noted, or its weights are gone: it ends once more, and writes them.
        weights_path(recipe, list(plan["steps"])[-1]).unlink(missing_ok=True)
    return run(recipe, resume=True)
