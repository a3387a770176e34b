"""What must hold before the first step: parts that fit together, losses that move their player."""

from srkd.config import Stage
from srkd.errors import UsageError, choose
from srkd.losses import LOSSES
from srkd.losses.functional import ADVERSARIES


def check_stage(stage: Stage) -> None:
    """Raises UsageError for a stage whose parts do not go together."""
    for name in stage.losses:
        choose("loss", name, LOSSES)
    if not stage.losses and not stage.critics:
        raise UsageError("the stage has no losses")
    for field in ("steps", "crop", "batch"):
        if getattr(stage, field) < 1:
            raise UsageError(f"{field} must be at least 1, not {getattr(stage, field)}")
    if stage.rate <= 0:
        raise UsageError(f"rate must be positive, not {stage.rate}")
    for name, critic in stage.critics.items():
        choose("adversarial loss", critic.gan, ADVERSARIES)
        if critic.copies < 1 or critic.r1_every < 1:
            raise UsageError(f"critic '{name}': copies and r1_every must be at least 1")
        if critic.weight == 0 and (critic.schedule == "constant" or critic.final == 0):
            raise UsageError(f"critic '{name}' is trained but feeds nobody (weight 0); set a weight or null")
        if stage.mutual is not None and critic.real != "hr":
            raise UsageError(
                f"mutual distillation is of critics of HR, and critic '{name}' is of the teacher"
            )
        if stage.mutual is not None and critic.gan != "vanilla":
            raise UsageError(
                f"mutual distillation needs probability logits, and critic '{name}' is {critic.gan}"
            )
    if stage.mutual is not None and not stage.critics:
        raise UsageError("mutual distillation needs critics")


def uses_teacher(stage: Stage) -> bool:
    """Whether anything in the stage looks at the teacher."""
    needs = {need for name in stage.losses for need in LOSSES[choose("loss", name, LOSSES)].needs}
    critics = any("teacher" in (critic.real, critic.init) for critic in stage.critics.values())
    return critics or bool(needs & {"targets", "teacher", "discriminator"})


def looks_inside(stage: Stage) -> bool:
    """Whether the teacher must run in the stage itself: its images alone, which may be stored, do not do."""
    return any("teacher" in LOSSES[name].needs for name in stage.losses)


def uses_discriminator(stage: Stage) -> bool:
    """Whether anything in the stage looks at the teacher's discriminator."""
    losses = any("discriminator" in LOSSES[name].needs for name in stage.losses)
    return losses or any(critic.init == "teacher" for critic in stage.critics.values())
