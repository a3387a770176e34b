"""Learning without forgetting (LwF)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import choose
from srkd.losses.base import GeneratorLoss, Taps, View
from srkd.models.base import Generator
from srkd.models.copies import copy_without_hooks


class Forgetting(GeneratorLoss):
    """LwF, learning without forgetting (Li & Hoiem 2016, arXiv 1606.09282), for regression: |S(x) - S_old(x)|
    on images x of the new domain, where S_old is a frozen copy of the student at the start of the stage. With
    `taps: all`, plus the mean over taps of |F - F_old| / std(F_old).

    Args:
        student: a generator; with taps for `taps: all`.
        taps: `outputs` or `all`.
    """

    distills = True
    needs = ("student",)
    saved = True

    def __init__(self, student: Generator, taps: Literal["outputs", "all"] = "outputs"):
        super().__init__()
        choose("taps", taps, ("outputs", "all"))
        self.old = copy_without_hooks(student).eval().requires_grad_(False)
        places = student.taps if taps == "all" else []
        self.features = (Taps(student, places), Taps(self.old, places)) if places else None

    def train(self, mode: bool = True) -> "Forgetting":
        super().train(mode)
        self.old.eval()
        return self

    def forward(self, view: View) -> Tensor:
        # Read before the old network runs: these are from the student's pass on this batch.
        own = self.features[0]() if self.features else []
        with torch.no_grad():
            wanted = self.old(view.lr)
        loss = F.l1_loss(view.sr, wanted)
        if self.features:
            pairs = zip(own, self.features[1](), strict=True)
            loss = loss + torch.stack([F.l1_loss(s, t) / (t.std() + 1e-8) for s, t in pairs]).mean()
        return loss
