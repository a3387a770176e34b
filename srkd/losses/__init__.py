"""The generator's losses: a file for each, and a line in LOSSES.

A loss maps a View of one generator's batch to a scalar; srkd.losses.base.GeneratorLoss documents what it may
ask for.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from srkd.errors import UsageError, choose
from srkd.losses.affinity import Affinity
from srkd.losses.attention import Attention
from srkd.losses.base import GeneratorLoss, View, check_depth
from srkd.losses.blocking import Blocking
from srkd.losses.concept import Concept
from srkd.losses.contrastive import Contrastive
from srkd.losses.correlation import Correlation
from srkd.losses.discriminator import DiscriminatorFeatures
from srkd.losses.ensemble import Ensemble
from srkd.losses.exits import SelfDistillation
from srkd.losses.forgetting import Forgetting
from srkd.losses.grid import Grid
from srkd.losses.hint import Hint
from srkd.losses.lpips import LPIPS, LPIPSOutput
from srkd.losses.output import Output
from srkd.losses.perceptual import Perceptual, PerceptualOutput
from srkd.losses.pixel import FFT, L1, MSE, Charbonnier
from srkd.losses.zoom import Zoom
from srkd.metrics.trunks import check_layers
from srkd.models.options import check_options

__all__ = ["LOSSES", "View", "create_loss"]

LOSSES: dict[str, type[GeneratorLoss]] = {
    # Against HR.
    "l1": L1,
    "mse": MSE,
    "charbonnier": Charbonnier,
    "fft": FFT,
    "perceptual": Perceptual,
    "lpips": LPIPS,
    "grid": Grid,
    "blocking": Blocking,
    # Distillation.
    "output": Output,
    "perceptual_output": PerceptualOutput,
    "lpips_output": LPIPSOutput,
    "hint": Hint,
    "attention": Attention,
    "affinity": Affinity,
    "correlation": Correlation,
    "contrastive": Contrastive,
    "zoom": Zoom,
    "self": SelfDistillation,
    "concept": Concept,
    "ensemble": Ensemble,
    "discriminator": DiscriminatorFeatures,
    "forgetting": Forgetting,
}


def create_loss(
    name: str, options: Mapping[str, Any], modules: Mapping[str, nn.Module | None]
) -> GeneratorLoss:
    """Builds a loss.

    Args:
        name: a key of LOSSES.
        options: arguments of its class.
        modules: `student`, `teacher` and `discriminator` (the first teacher's); None where there is none.

    Raises:
        UsageError: an unknown name or option, or a missing module that the loss needs.
    """
    check_loss(name, options)
    kind = LOSSES[name]
    wanted = [module for module in kind.needs if module != "targets"]
    for module in wanted:
        if modules.get(module) is None:
            option = "teacher-discriminator" if module == "discriminator" else "teacher"
            raise UsageError(f"the loss '{name}' needs a {option.replace('-', ' ')}; give --{option}")
    return kind(**{module: modules[module] for module in wanted}, **options)


def check_loss(name: str, options: Mapping[str, Any]) -> None:
    """Raises UsageError for an unknown loss, or for options that it does not have or that make no sense."""
    kind = LOSSES[choose("loss", name, LOSSES)]
    check_options(kind, options, f"loss '{name}'", kind.needs)
    for place in [*options.get("depths", []), *([options["depth"]] if "depth" in options else [])]:
        check_depth(place)
    if "trunk" in (parameters := inspect.signature(kind).parameters):
        layers = [*(options.get("layers") or []), *([options["layer"]] if options.get("layer") else [])]
        check_layers(options.get("trunk", parameters["trunk"].default), layers)
