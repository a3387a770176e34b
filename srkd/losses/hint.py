"""Hint distillation (FitNets)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from srkd.losses.base import FeatureLoss
from srkd.models.base import Generator


class Hint(FeatureLoss):
    """FitNets hints (Romero et al. 2015, arXiv 1412.6550), in L1: mean |r(F_S) - F_T| / std(F_T), averaged
    over depths.

    r is a 1x1 convolution from the student's width to the teacher's, trained with the student and dropped
    afterwards.

    Args:
        student, teacher: generators with taps.
        depths: taps, by name or relative depth in (0, 1], at which features `(N, C, h, w)` are compared.
    """

    def __init__(self, student: Generator, teacher: Generator, depths: Sequence[float | str] = (0.5, 1.0)):
        super().__init__(student, teacher, depths)
        widths = zip(self.own.widths(), self.other.widths(), strict=True)
        self.adapters = nn.ModuleList(nn.Conv2d(s, t, 1) for s, t in widths)

    def distance(self, place: int, own: Tensor, other: Tensor) -> Tensor:
        return F.l1_loss(self.adapters[place](own), other) / (other.std() + 1e-8)
