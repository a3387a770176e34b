"""Contrastive distillation (CSD)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import UsageError
from srkd.losses.base import GeneratorLoss, View
from srkd.metrics.trunks import check_size, load_trunk


class Contrastive(GeneratorLoss):
    """CSD, contrastive self-distillation (Wang et al. 2021, arXiv 2105.11683, eq. 5):
    sum_i w_i |phi_i(SR_S) - phi_i(SR_T)| / (sum_n |phi_i(SR_S) - phi_i(N_n)| + eps), every |.| a mean.

    phi are the features of a trunk; the negatives N are other images of the batch upscaled by bicubic. The
    student is pulled towards its teacher and pushed away from blur.

    Args:
        trunk: as in the perceptual loss.
        weights: w_i of its layers, in order. Without it, the published ones for five layers.
        negatives: how many; limited to the batch size minus one.
    """

    distills = True
    needs = ("targets",)

    def __init__(self, trunk: str = "st-vgg", weights: Sequence[float] | None = None, negatives: int = 4):
        super().__init__()
        self.trunk = load_trunk(trunk, None)
        layers = list(self.trunk.slices)
        chosen = list(weights) if weights is not None else [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0][-len(layers) :]
        if len(chosen) != len(layers):
            raise UsageError(f"contrastive: {len(chosen)} weights for {len(layers)} layers of {trunk}")
        self.weights = dict(zip(layers, chosen, strict=True))
        self.negatives = negatives

    def forward(self, view: View) -> Tensor:
        count = min(self.negatives, len(view.sr) - 1)
        if count < 1:
            raise UsageError("contrastive: negatives are other images of the batch; it needs at least two")
        check_size(*view.hr.shape[-2:])
        with torch.no_grad():
            blurred = F.interpolate(view.lr, view.hr.shape[-2:], mode="bicubic", align_corners=False)
            positive, negative = self.trunk(view.target), self.trunk(blurred)
        anchor = self.trunk(view.sr)
        terms = []
        for name, weight in self.weights.items():
            away = [F.l1_loss(anchor[name], negative[name].roll(n, 0)) for n in range(1, count + 1)]
            near = F.l1_loss(anchor[name], positive[name])
            terms.append(weight * near / (torch.stack(away).sum() + 1e-7))
        return torch.stack(terms).sum()
