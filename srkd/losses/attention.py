"""Attention transfer (AT)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import choose
from srkd.losses.base import FeatureLoss
from srkd.models.base import Generator


class Attention(FeatureLoss):
    """AT, attention transfer (Zagoruyko & Komodakis 2017, arXiv 1612.03928, eq. 2): |A_S - A_T|_2, averaged
    over images and depths.

    A is the sum over channels of F^2, flattened and divided by its Euclidean length, so widths may differ.

    Args:
        student, teacher: generators with taps.
        depths: taps, by name or relative depth in (0, 1].
        distance: `l2` as published, or `l1` (the sum of absolute differences).
    """

    def __init__(
        self,
        student: Generator,
        teacher: Generator,
        depths: Sequence[float | str] = (0.5, 1.0),
        distance: Literal["l2", "l1"] = "l2",
    ):
        super().__init__(student, teacher, depths)
        self.order = {"l2": 2, "l1": 1}[choose("distance", distance, ("l2", "l1"))]

    def distance(self, place: int, own: Tensor, other: Tensor) -> Tensor:
        return torch.linalg.vector_norm(attention_map(own) - attention_map(other), self.order, 1).mean()


def attention_map(features: Tensor) -> Tensor:
    """`(N, C, h, w)` to unit vectors `(N, h*w)`."""
    return F.normalize(features.square().sum(1).flatten(1), dim=1)
