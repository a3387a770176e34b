"""Distances between features of a pretrained classifier."""

from collections.abc import Sequence

import torch
from torch import Tensor

from srkd.losses.base import GeneratorLoss, View
from srkd.losses.functional import feature_l1
from srkd.metrics.trunks import check_size, load_trunk


class Perceptual(GeneratorLoss):
    """The content loss of SRGAN (Ledig et al. 2017, eq. 5) in L1: mean over layers i of
    |phi_i(SR) - phi_i(HR)| / mean |phi_i(HR)|.

    Args:
        trunk: `st-vgg` or `st-alex` (installed with this package), or `vgg19` (torchvision's, downloaded).
        layers: names of the layers. Without it, all five taps (relu1_2 .. relu5_3); for `vgg19` `conv5_4`,
            before activation as in ESRGAN.
    """

    def __init__(self, trunk: str = "st-vgg", layers: Sequence[str] | None = None):
        super().__init__()
        self.trunk = load_trunk(trunk, layers)
        self.layers = list(layers or self.trunk.slices)

    def forward(self, view: View) -> Tensor:
        check_size(*view.hr.shape[-2:])
        with torch.no_grad():
            targets = self.trunk(view.hr)
        features = self.trunk(view.sr)
        return feature_l1(features, {name: targets[name] for name in self.layers})
