"""Self-distillation through early exits (Be Your Own Teacher)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.losses.base import GeneratorLoss, Taps, View
from srkd.models.base import Generator


class SelfDistillation(GeneratorLoss):
    """Be Your Own Teacher (Zhang et al. 2019, arXiv 1905.08094): the sum over exits e of
    alpha |S_e - HR| + (1 - alpha) |S_e - SR|, SR without gradient. Needs no teacher.

    An exit is a 3x3 convolution and a pixel-shuffle on the features after a block, added to the upscaled
    input. Exits are trained with the student and dropped afterwards.

    Args:
        student: a generator with taps.
        depths: the taps that get an exit, by name or relative depth in (0, 1).
        alpha: the share of the ground truth.
    """

    distills = True
    needs = ("student",)

    def __init__(
        self, student: Generator, depths: Sequence[float | str] = (0.25, 0.5, 0.75), alpha: float = 0.5
    ):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise UsageError(f"self: alpha must lie in [0, 1], not {alpha}")
        self.alpha, self.scale = alpha, student.scale
        self.taps = Taps(student, depths)
        self.exits = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 3 * self.scale**2, 3, padding=1), nn.PixelShuffle(self.scale))
            for w in self.taps.widths()
        )

    def forward(self, view: View) -> Tensor:
        base = F.interpolate(view.lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        images = [leave(features) + base for leave, features in zip(self.exits, self.taps(), strict=True)]
        final = view.sr.detach()
        terms = [
            self.alpha * F.l1_loss(image, view.hr) + (1 - self.alpha) * F.l1_loss(image, final)
            for image in images
        ]
        return torch.stack(terms).sum()
