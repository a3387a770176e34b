"""Concept distillation from a teacher of another task."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.losses.base import GeneratorLoss, Taps, View
from srkd.metrics.trunks import check_size, load_trunk
from srkd.models.base import Generator


class Concept(GeneratorLoss):
    """1 - cos(h(F_S), phi(HR)), averaged over positions: the student's features must predict what a
    classifier sees in the sharp image.

    After heterogeneous distillation of concepts (JKSCI 27(10), 2022), re-derived from its abstract: the
    teacher is an ImageNet classifier, not an upscaler. phi are the features of a trunk's deepest layer; F_S
    are the student's, averaged to phi's size; h is a 1x1 convolution to phi's width, trained with the student
    and dropped afterwards.

    Args:
        student: a generator with taps.
        depth: the student's tap, by name or relative depth in (0, 1].
        trunk: as in the perceptual loss.
        layer: the trunk's layer; its deepest when not given.
    """

    distills = True
    needs = ("student",)

    def __init__(
        self,
        student: Generator,
        depth: float | str = 1.0,
        trunk: str = "st-vgg",
        layer: str | None = None,
    ):
        super().__init__()
        self.trunk = load_trunk(trunk, [layer] if layer else None)
        self.layer = layer or list(self.trunk.slices)[-1]
        self.tap = Taps(student, [depth])
        with torch.no_grad():
            channels = self.trunk(torch.zeros(1, 3, 64, 64))[self.layer].shape[1]
        self.adapter = nn.Conv2d(self.tap.widths()[0], channels, 1)

    def forward(self, view: View) -> Tensor:
        check_size(*view.hr.shape[-2:])
        with torch.no_grad():
            wanted = self.trunk(view.hr)[self.layer]
        own = F.adaptive_avg_pool2d(self.tap()[0], wanted.shape[-2:])
        return 1 - F.cosine_similarity(self.adapter(own), wanted, dim=1).mean()
