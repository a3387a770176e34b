"""The generator's losses: a class each, a line each in LOSSES.

A loss maps a View of one generator's batch to a scalar. What it looks at besides is in its class
attributes: `teacher` (it needs the teacher's images or more; the no-distillation control drops it) and
`needs`, the modules its constructor is given by name (`student`, `teacher`, `discriminator`).
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from srkd.errors import UsageError, choose
from srkd.losses.base import View
from srkd.losses.distill import DiscriminatorFeatures, Hint, Output
from srkd.losses.perceptual import Perceptual
from srkd.losses.pixel import L1, MSE, Charbonnier

__all__ = ["LOSSES", "View", "create_loss"]

LOSSES: dict[str, type[nn.Module]] = {
    "l1": L1,
    "mse": MSE,
    "charbonnier": Charbonnier,
    "perceptual": Perceptual,
    "output": Output,
    "hint": Hint,
    "discriminator": DiscriminatorFeatures,
}


def create_loss(name: str, options: Mapping[str, Any], modules: Mapping[str, nn.Module | None]) -> nn.Module:
    """Builds a loss.

    Args:
        name: a key of LOSSES.
        options: arguments of its class.
        modules: `student`, `teacher` and `discriminator` (the teacher's), None where there is none.

    Raises:
        UsageError: an unknown name or option, or a module it needs is missing.
    """
    kind = LOSSES[choose("loss", name, LOSSES)]
    wanted = ["teacher"] * kind.teacher + list(kind.needs)  # type: ignore[attr-defined]
    for module in wanted:
        if modules.get(module) is None:
            option = "teacher_discriminator" if module == "discriminator" else "teacher"
            raise UsageError(f"the loss '{name}' needs a {option.replace('_', ' ')}; give --{option}")
    try:
        return kind(**{module: modules[module] for module in kind.needs}, **options)  # type: ignore[attr-defined]
    except TypeError as error:
        raise UsageError(
            f"loss '{name}': {str(error).replace(f'{kind.__name__}.__init__() ', '')}"
        ) from error
