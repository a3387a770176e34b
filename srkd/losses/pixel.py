"""Distances of pixels, and of their spectrum, to HR."""

import torch
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


class FFT(GeneratorLoss):
    """mean |F(SR) - F(HR)| over the real and imaginary parts of the crop's orthonormal Fourier transform.

    The frequency term of MIMO-UNet (Cho et al. 2021, arXiv 2108.05054), whose transform is not
    normalised: its weight of 0.1 is 0.1 sqrt(H W) here, 9.6 for crops of 96 pixels.
    """

    def forward(self, view: View) -> Tensor:
        spectrum = torch.fft.rfft2((view.sr - view.hr).float(), norm="ortho")
        return torch.view_as_real(spectrum).abs().mean()
