"""Internal and external correlation (IEKD)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.losses.base import FeatureLoss, pool_features
from srkd.models.base import Generator


class Correlation(FeatureLoss):
    """IEKD, internal and external correlation (JKSCI 28(4), 2023; re-derived from its abstract):
    |Z_S Z_S' - Z_T Z_T'| + |Z_S Z_T' - Z_T Z_T'| + |d(E(T)) - T| / mean |T|, averaged over depths.

    Features pass as sequences of tokens through one small transformer E that student and teacher share, after
    a linear map each to E's width. Z `(N, L, width)` are its outputs with rows of length 1; the teacher's
    carry no gradient in the first two terms, the internal and the external correlation. The third term makes
    E keep the content of the teacher's tokens: without it, a constant E would be optimal. E and its maps are
    trained with the student and dropped afterwards.

    Args:
        student, teacher: generators with taps.
        depths: taps, by name or relative depth in (0, 1].
        pool: side of the squares that features are averaged over before they become tokens.
        width: of E.
        heads: attention heads of E.
    """

    def __init__(
        self,
        student: Generator,
        teacher: Generator,
        depths: Sequence[float | str] = (0.5, 1.0),
        pool: int = 4,
        width: int = 32,
        heads: int = 4,
    ):
        super().__init__(student, teacher, depths)
        if heads < 1 or width % heads:
            raise UsageError(f"correlation: width, {width}, must be a multiple of heads, {heads}")
        self.pool = pool
        own, other = self.own.widths(), self.other.widths()
        self.project_own = nn.ModuleList(nn.Linear(w, width) for w in own)
        self.project_other = nn.ModuleList(nn.Linear(w, width) for w in other)
        self.encoder = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.decoders = nn.ModuleList(nn.Linear(width, w) for w in other)

    def distance(self, place: int, own: Tensor, other: Tensor) -> Tensor:
        source, target = self._tokens(own), self._tokens(other)
        encoded = self.encoder(self.project_other[place](target))
        z_s = F.normalize(self.encoder(self.project_own[place](source)), dim=-1)
        z_t = F.normalize(encoded, dim=-1).detach()
        wanted = z_t @ z_t.transpose(1, 2)
        internal = F.l1_loss(z_s @ z_s.transpose(1, 2), wanted)
        external = F.l1_loss(z_s @ z_t.transpose(1, 2), wanted)
        kept = F.l1_loss(self.decoders[place](encoded), target) / (target.abs().mean() + 1e-8)
        return internal + external + kept

    def _tokens(self, features: Tensor) -> Tensor:
        """`(N, C, h, w)` to `(N, L, C)`, L = h w / pool^2."""
        return pool_features(features, self.pool).flatten(2).transpose(1, 2)
