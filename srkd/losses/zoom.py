"""Distillation on upcycled data (DUKD)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import UsageError
from srkd.losses.base import GeneratorLoss, View, unobserved
from srkd.models.base import Generator
from srkd.models.copies import statistics_kept

# Invertible changes of an image; each is its own inverse.
_CHANGES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: 1 - x,
    lambda x: x.flip(-1),
    lambda x: x.flip(-2),
    lambda x: x.transpose(-1, -2),
)


class Zoom(GeneratorLoss):
    """DUKD, data upcycling and label consistency (Zhang et al. 2023, arXiv 2309.14162):
    |A(S(A(c))) - T(c)| + |S(d) - LR| + |S(d) - T(d)|, every |.| a mean.

    Zoom in: c are random crops of HR, as large as LR, used as inputs without ground truth. With probability
    `consistency`, A is an invertible change (inverted colours, a flip, a transposition) to which the student
    must be equivariant; otherwise A is the identity. Zoom out: d is LR downscaled by the scale.

    The teacher runs on these inputs, so stored outputs are not enough.

    Args:
        student, teacher: generators.
        consistency: probability of a change A at each step.
    """

    distills = True
    needs = ("student", "teacher")

    def __init__(self, student: Generator, teacher: Generator, consistency: float = 0.3):
        super().__init__()
        if not 0 <= consistency <= 1:
            raise UsageError(f"zoom: consistency is a probability in [0, 1], not {consistency}")
        # In a tuple, so that neither is registered as a submodule of this loss.
        self.networks, self.consistency = (student, teacher), consistency

    def forward(self, view: View) -> Tensor:
        student, teacher = self.networks
        scale = view.hr.shape[-1] // view.lr.shape[-1]
        crop = random_crop(view.hr, *view.lr.shape[-2:])
        change: Callable[[Tensor], Tensor] = _same
        if float(torch.rand(())) < self.consistency:
            change = _CHANGES[int(torch.randint(len(_CHANGES), ()))]
        small = F.interpolate(view.lr, scale_factor=1 / scale, mode="bicubic", antialias=True).clamp(0, 1)
        # Batch norms go on being told of LR images alone.
        with unobserved(), statistics_kept(student):
            with torch.no_grad():
                sharp, wanted = teacher(crop), teacher(small)
            enlarged, out = change(student(change(crop))), student(small)
        lr = view.lr[..., : out.shape[-2], : out.shape[-1]]
        return F.l1_loss(enlarged, sharp) + F.l1_loss(out, lr) + F.l1_loss(out, wanted)


def random_crop(image: Tensor, height: int, width: int) -> Tensor:
    """A window at a random place, the same for the whole batch."""
    top = int(torch.randint(image.shape[-2] - height + 1, ()))
    left = int(torch.randint(image.shape[-1] - width + 1, ()))
    return image[..., top : top + height, left : left + width]


def _same(image: Tensor) -> Tensor:
    return image
