"""Feature affinity (FAKD)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.losses.base import GeneratorLoss, Taps, View


class Affinity(GeneratorLoss):
    """mean |A_S - A_T| over all pairs of positions, averaged over depths (FAKD, He et al., ICIP 2020, eq. 3).

    A = F'F, `(N, hw, hw)`, the cosine of the features of every two positions: F `(N, C, hw)` has columns of
    length 1, so widths may differ.

    Args:
        student, teacher: generators with taps.
        depths: taps, by name or relative depth in (0, 1].
        pool: side of the squares that features are averaged over first; memory grows with (h w / pool^2)^2.
    """

    distills = True
    needs = ("student", "teacher")

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        depths: Sequence[float | str] = (0.5, 1.0),
        pool: int = 2,
    ):
        super().__init__()
        self.own, self.other, self.pool = Taps(student, depths), Taps(teacher, depths), pool

    def forward(self, view: View) -> Tensor:
        pairs = zip(self.own(), self.other(), strict=True)
        return torch.stack(
            [F.l1_loss(affinity(s, self.pool), affinity(t.detach(), self.pool)) for s, t in pairs]
        ).mean()


def affinity(features: Tensor, pool: int) -> Tensor:
    """`(N, C, h, w)` to the cosines between positions, `(N, L, L)` with L = h w / pool^2."""
    columns = F.normalize(F.avg_pool2d(features, pool).flatten(2), dim=1)
    return columns.transpose(1, 2) @ columns
