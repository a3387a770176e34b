"""Distillation through the teacher's discriminator (DCD, GCC)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from srkd.losses.base import GeneratorLoss, Taps, View
from srkd.losses.functional import feature_l1
from srkd.models.base import Discriminator


class DiscriminatorFeatures(GeneratorLoss):
    """DCD (Li et al. 2021), GCC (arXiv 2110.13074): |D_i(SR_S) - D_i(SR_T)| / mean |D_i(SR_T)|, averaged over
    layers i of the teacher's discriminator D; with `gram`, plus the same of their Gram matrices.

    Args:
        discriminator: the teacher's, frozen, with taps; its batch norms go by the batch's statistics.
        depths: taps, by name or relative depth in (0, 1].
        gram: add the distance between Gram matrices F F' / (h w), which describe texture.
    """

    distills = True
    needs = ("targets", "discriminator")

    def __init__(
        self, discriminator: Discriminator, depths: Sequence[float | str] = (0.5, 1.0), gram: bool = False
    ):
        super().__init__()
        # In a tuple, so that the frozen discriminator is not registered as a submodule of this loss.
        self.frozen, self.gram = (discriminator,), gram
        self.taps = Taps(discriminator, depths)

    def forward(self, view: View) -> Tensor:
        targets = {name: value.detach() for name, value in self._features(view.target).items()}
        features = self._features(view.sr)
        loss = feature_l1(features, targets)
        if self.gram:
            loss = loss + feature_l1(_grams(features), _grams(targets))
        return loss

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        self.frozen[0](image)
        return dict(self.taps.features)


def _grams(features: dict[str, Tensor]) -> dict[str, Tensor]:
    flat = {name: value.flatten(2) for name, value in features.items()}
    return {name: torch.bmm(f, f.transpose(1, 2)) / f.shape[2] for name, f in flat.items()}
