"""What must hold before the first step: values that make sense, parts that fit together."""

import math

import torch

from srkd.config import Critic, Loss, Stage
from srkd.errors import UsageError, choose
from srkd.losses import LOSSES, check_loss
from srkd.losses.functional import ADVERSARIES
from srkd.models import create_discriminator, create_generator
from srkd.recipe import Recipe
from srkd.strategies import DEFAULT_MODEL, STRATEGIES


def resolve(recipe: Recipe) -> dict[str, Stage]:
    """A recipe's stages, checked as a run checks them.

    Raises:
        UsageError: they cannot be trained as they stand.
    """
    stages = recipe.resolve()
    _check_model(recipe)
    for name, stage in stages.items():
        try:
            check_stage(stage)
        except UsageError as error:
            raise UsageError(f"stage {name}: {error}") from None
        copies = sum(critic.copies for critic in stage.critics.values())
        if stage.mutual is not None and recipe.members * copies < 2:
            raise UsageError("a cohort needs two discriminators: raise --members or --critics")
        if stage.crop % recipe.scale:
            raise UsageError(
                f"stage {name}: a crop of {stage.crop} is not a multiple of the scale {recipe.scale}"
            )
    return stages


def _check_model(recipe: Recipe) -> None:
    """Builds the generator without its weights, if it is not that of `start`."""
    if recipe.start is not None and recipe.model is None:
        if recipe.model_options:
            raise UsageError("model_options go with --model; weights given as --start bring their own")
        return
    name = recipe.model or STRATEGIES[recipe.strategy].model or DEFAULT_MODEL
    with torch.device("meta"):
        create_generator(name, recipe.scale, **recipe.model_options)


def check_stage(stage: Stage) -> None:
    """Raises UsageError for a stage whose values make no sense or whose parts do not go together."""
    for name, loss in stage.losses.items():
        check_loss(name, loss.options)
    if not stage.losses and not stage.critics:
        raise UsageError("the stage has no losses")
    for field in ("steps", "crop", "batch"):
        if getattr(stage, field) < 1:
            raise UsageError(f"{field} must be at least 1, not {getattr(stage, field)}")
    if not 0 < stage.rate < math.inf:
        raise UsageError(f"rate must be positive, not {stage.rate}")
    for field in ("final_rate", "weight_decay"):
        _check_range(field, getattr(stage, field))
    _check_range("ema", stage.ema, 1.0)
    if stage.weight_decay and stage.optimizer != "muon":
        # It would take biases and slopes along.
        raise UsageError(f"weight_decay goes with optimizer: muon; this stage has {stage.optimizer}")
    for name, loss in stage.losses.items():
        _check_weight(f"loss '{name}'", loss)
    for name, critic in stage.critics.items():
        _check_critic(name, critic)
    if stage.mutual is not None:
        _check_mutual(stage)
    if stage.kd_replaces:
        _check_replacing(stage)


def _check_replacing(stage: Stage) -> None:
    output = stage.losses.get("output")
    if output is None:
        raise UsageError("kd_replaces takes the weight of the loss 'output', which the stage does not have")
    for weight in (output.weight,) if output.schedule == "constant" else (output.weight, output.final):
        if not 0 <= weight < 1:
            raise UsageError(
                "kd_replaces scales the losses against HR by 1 - weight of 'output', so that must be at "
                f"least 0 and less than 1, not {weight:g}"
            )


def _check_critic(name: str, critic: Critic) -> None:
    where = f"critic '{name}'"
    with torch.device("meta"):
        create_discriminator(critic.name, **critic.options)
    choose("adversarial loss", critic.gan, ADVERSARIES)
    _check_weight(where, critic)
    if critic.rate is not None and not 0 < critic.rate < math.inf:
        raise UsageError(f"{where}: rate must be positive, not {critic.rate}")
    _check_range(f"{where}: ramp", critic.ramp, 1.0)
    for field in ("r1", "imitate"):
        _check_range(f"{where}: {field}", getattr(critic, field))
    if critic.copies < 1 or critic.r1_every < 1:
        raise UsageError(f"{where}: copies and r1_every must be at least 1")
    if critic.weight == 0 and (critic.schedule == "constant" or critic.final == 0):
        raise UsageError(f"{where} is trained but feeds nobody (weight 0); set a weight or null")


def _check_mutual(stage: Stage) -> None:
    mutual = stage.mutual
    assert mutual is not None
    _check_range("mutual: weight", mutual.weight)
    _check_range("mutual: ramp", mutual.ramp, 1.0)
    if not 0 < mutual.temperature < math.inf:
        raise UsageError(f"mutual: temperature must be positive, not {mutual.temperature}")
    if not stage.critics:
        raise UsageError("mutual distillation needs critics")
    for name, critic in stage.critics.items():
        if critic.real != "hr":
            raise UsageError(f"mutual distillation needs critics of HR; critic '{name}' is of the teacher")
        if critic.gan != "vanilla":
            raise UsageError(f"mutual distillation needs probability logits; critic '{name}' is {critic.gan}")


def _check_weight(where: str, term: Loss | Critic) -> None:
    for field in ("weight", "final"):
        if not math.isfinite(getattr(term, field)):
            raise UsageError(f"{where}: {field} must be a finite number, not {getattr(term, field)}")


def _check_range(where: str, value: float, largest: float = math.inf) -> None:
    if not 0 <= value <= largest or math.isinf(value):
        bound = "0 or more" if largest == math.inf else f"from 0 to {largest:g}"
        raise UsageError(f"{where} must be {bound}, not {value}")


def uses_teacher(stage: Stage) -> bool:
    """Whether anything in the stage needs the teacher."""
    needs = {need for name in stage.losses for need in LOSSES[choose("loss", name, LOSSES)].needs}
    critics = any("teacher" in (critic.real, critic.init) for critic in stage.critics.values())
    return critics or bool(needs & {"targets", "teacher", "discriminator"})


def runs_teacher(stage: Stage) -> bool:
    """Whether the teacher must run in the stage itself: its stored outputs are not enough."""
    return any("teacher" in LOSSES[name].needs for name in stage.losses)


def uses_discriminator(stage: Stage) -> bool:
    """Whether anything in the stage needs the teacher's discriminator."""
    losses = any("discriminator" in LOSSES[name].needs for name in stage.losses)
    return losses or any(critic.init == "teacher" for critic in stage.critics.values())
