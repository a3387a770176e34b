"""The weights that a stage leaves: their names, and what they say of themselves."""

from pathlib import Path
from typing import Any

from srkd.recipe import Recipe
from srkd.training.requirements import uses_teacher
from srkd.training.setup import Job
from srkd.training.state import Member
from srkd.weights.store import save_module

# Losses that trade PSNR for looks.
_LOOKS = {"perceptual", "perceptual_output", "lpips", "lpips_output", "discriminator"}


def weights_path(recipe: Recipe, name: str, index: int = 0) -> Path:
    """Where the weights of a stage's member go."""
    suffix = "" if recipe.members == 1 else f"_{index}"
    return Path(recipe.out) / f"{name}{suffix}.safetensors"


def describe(job: Job, name: str) -> dict[str, Any]:
    """What the weights of a stage say of themselves; no paths, since files travel."""
    stage = job.stages[name]
    so_far = list(job.stages.values())[: list(job.stages).index(name) + 1]
    objective = "gan" if stage.critics else "perceptual" if _LOOKS & stage.losses.keys() else "psnr"
    return {
        "strategy": job.recipe.strategy,
        "stage": name,
        "steps": stage.steps,
        "objective": objective,
        "control": job.recipe.control,
        "seed": job.recipe.seed,
        # Of earlier stages too: fine-tuning has no teacher, and its student was distilled all the same.
        "kd_replaces": any(earlier.kd_replaces for earlier in so_far),
        "teacher": job.taught_by if any(map(uses_teacher, so_far)) else None,
        "degradation": job.data.degradation or job.recipe.degradation,
        "license": "Apache-2.0",
    }


def save_member(member: Member, path: Path, facts: dict[str, Any]) -> None:
    """Writes a member's generator, and beside it its discriminators: `<stem>_discriminator.safetensors` for
    the first critic of HR, the others with their critic and number behind."""
    save_module("generator", member.network, path, **facts)
    for key, copies in member.critics.items():
        for number, critic in enumerate(copies):
            extra = "" if (key, number) == ("hr", 0) else f"_{key}_{number}"
            beside = path.with_name(f"{path.stem}_discriminator{extra}.safetensors")
            save_module("discriminator", critic.network, beside, **facts)
