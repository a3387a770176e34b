"""Feature affinity (FAKD)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from srkd.losses.base import FeatureLoss, pool_features
from srkd.models.base import Generator


class Affinity(FeatureLoss):
    """FAKD, feature affinity (He et al., ICIP 2020, eq. 3): mean |A_S - A_T| over all pairs of positions,
    averaged over depths.

    A = F'F, `(N, hw, hw)`, holds the cosine of the features of every two positions: the columns of F
    `(N, C, hw)` have length 1, so widths may differ.

    Args:
        student, teacher: generators with taps.
        depths: taps, by name or relative depth in (0, 1].
        pool: side of the squares that features are averaged over first; memory grows with (h w / pool^2)^2.
    """

    def __init__(
        self,
        student: Generator,
        teacher: Generator,
        depths: Sequence[float | str] = (0.5, 1.0),
        pool: int = 2,
    ):
        super().__init__(student, teacher, depths)
        self.pool = pool

    def distance(self, place: int, own: Tensor, other: Tensor) -> Tensor:
        return F.l1_loss(affinity(own, self.pool), affinity(other, self.pool))


def affinity(features: Tensor, pool: int) -> Tensor:
    """`(N, C, h, w)` to the cosines between positions, `(N, L, L)` with L = h w / pool^2."""
    columns = F.normalize(pool_features(features, pool).flatten(2), dim=1)
    return columns.transpose(1, 2) @ columns
