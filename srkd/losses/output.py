"""Output distillation (KD)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import UsageError, choose
from srkd.losses.base import GeneratorLoss, View


class Output(GeneratorLoss):
    """KD (Hinton et al. 2015, arXiv 1503.02531), for regression: mean |SR_S - SR_T|, or the mean square. SR_T
    of several teachers is their weighted mean.

    Args:
        distance: `l1` or `mse`.
        weights: the teachers' weights, normalised to sum to 1. Without it, all equal.
    """

    distills = True
    needs = ("targets",)

    def __init__(self, distance: Literal["l1", "mse"] = "l1", weights: Sequence[float] | None = None):
        super().__init__()
        self.distance = {"l1": F.l1_loss, "mse": F.mse_loss}[choose("distance", distance, ("l1", "mse"))]
        if weights is not None and (not weights or min(weights) < 0 or sum(weights) <= 0):
            raise UsageError(f"output: weights must be positive, not {list(weights)}")
        self.weights = [w / sum(weights) for w in weights] if weights is not None else None

    def forward(self, view: View) -> Tensor:
        return self.distance(view.sr, self._target(view))

    def _target(self, view: View) -> Tensor:
        if self.weights is None:
            return view.target
        if len(self.weights) != len(view.targets):
            raise UsageError(f"output: {len(self.weights)} weights for {len(view.targets)} teachers")
        weighted = [w * target for w, target in zip(self.weights, view.targets, strict=True)]
        return torch.stack(weighted).sum(0)
