"""Ensemble distillation into branches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import UsageError
from srkd.losses.base import GeneratorLoss, Taps, View
from srkd.models.base import Generator
from srkd.models.branched import BranchedGenerator


class Ensemble(GeneratorLoss):
    """Sum over branches k of |S_k - T_k|: each branch of a student learns from one teacher. The mean of the
    branches is the student's SR, to which the losses against HR apply.

    After ensemble distillation (Proc. KSCI, 2021), re-derived from its abstract.

    Args:
        student: a generator with branches, such as `srgan_branched`. There are as many teachers as branches,
            or one for all.
    """

    distills = True
    needs = ("student", "targets")

    def __init__(self, student: Generator):
        super().__init__()
        count = len(student.branches) if isinstance(student, BranchedGenerator) else 0
        if count < 2:
            raise UsageError("ensemble needs a student of several branches; give --model srgan_branched")
        names = [f"branches.{k}" for k in range(count)]
        self.branches = Taps(student, names, names)

    def forward(self, view: View) -> Tensor:
        images = self.branches()
        if len(view.targets) not in (1, len(images)):
            raise UsageError(f"ensemble: {len(view.targets)} teachers for {len(images)} branches")
        targets = view.targets * (len(images) // len(view.targets))
        return torch.stack([F.l1_loss(s, t) for s, t in zip(images, targets, strict=True)]).sum()
