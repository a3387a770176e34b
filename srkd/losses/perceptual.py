"""Distances between features of a pretrained classifier."""

from collections.abc import Sequence

import torch
from torch import Tensor

from srkd.losses.base import GeneratorLoss, View
from srkd.losses.functional import cut_alike, feature_l1
from srkd.metrics.trunks import check_size, load_trunk


class Perceptual(GeneratorLoss):
    """The content loss of SRGAN (Ledig et al. 2017, eq. 5) in L1: mean over layers i of
    |phi_i(SR) - phi_i(HR)| / mean |phi_i(HR)|.

    Args:
        trunk: `st-vgg` or `st-alex` (installed with this package), or `vgg19` (torchvision's, downloaded).
        layers: names of the layers. Without it, all five taps (relu1_2 .. relu5_3); for `vgg19` `conv5_4`,
            before activation as in ESRGAN.
        shift: both images are cut by a random number of rows and columns below this, anew in each step; 1
            cuts nothing. Otherwise the trunk's subsampling always meets the same pixels of every LR pixel's
            square, which leaves a lattice.
    """

    def __init__(self, trunk: str = "st-vgg", layers: Sequence[str] | None = None, shift: int = 1):
        super().__init__()
        self.trunk = load_trunk(trunk, layers)
        self.layers, self.shift = list(layers or self.trunk.slices), shift

    def forward(self, view: View) -> Tensor:
        return self.distance(view.sr, view.hr)

    def distance(self, sr: Tensor, real: Tensor) -> Tensor:
        """How far apart two batches are."""
        sr, real = cut_alike(sr, real, self.shift)
        check_size(*real.shape[-2:])
        with torch.no_grad():
            targets = self.trunk(real)
        features = self.trunk(sr)
        return feature_l1(features, {name: targets[name] for name in self.layers})


class PerceptualOutput(Perceptual):
    """Output distillation by features: the same distance, of SR_S to SR_T (of several teachers, to
    their mean)."""

    distills = True
    needs = ("targets",)

    def forward(self, view: View) -> Tensor:
        return self.distance(view.sr, view.target)
