"""Pixel distances to HR."""

import torch.nn.functional as F
from torch import Tensor

from srkd.losses.base import GeneratorLoss, View
from srkd.losses.functional import charbonnier


class L1(GeneratorLoss):
    """mean |SR - HR|."""

    def forward(self, view: View) -> Tensor:
        return F.l1_loss(view.sr, view.hr)


class MSE(GeneratorLoss):
    """mean (SR - HR)^2."""

    def forward(self, view: View) -> Tensor:
        return F.mse_loss(view.sr, view.hr)


class Charbonnier(GeneratorLoss):
    """mean sqrt((SR - HR)^2 + epsilon^2).

    Args:
        epsilon: where the loss turns from square to linear, in image units.
    """

    def __init__(self, epsilon: float = 1e-3):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, view: View) -> Tensor:
        return charbonnier(view.sr, view.hr, self.epsilon)
