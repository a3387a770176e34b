"""What a student learns from its teacher."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import choose
from srkd.losses.base import GeneratorLoss, Taps, View
from srkd.losses.functional import feature_l1


class Output(GeneratorLoss):
    """Output distillation: mean |SR_S - SR_T|, or the mean square (Hinton et al. 2015, arXiv 1503.02531, in
    the form that regression allows).

    Args:
        distance: `l1` or `mse`.
    """

    teacher = True

    def __init__(self, distance: Literal["l1", "mse"] = "l1"):
        super().__init__()
        self.distance = {"l1": F.l1_loss, "mse": F.mse_loss}[choose("distance", distance, ("l1", "mse"))]

    def forward(self, view: View) -> Tensor:
        assert view.target is not None
        return self.distance(view.sr, view.target)


class Hint(GeneratorLoss):
    """FitNets (Romero et al. 2015, arXiv 1412.6550): mean |r(F_S) - F_T| / std(F_T), r a 1x1 convolution
    trained with the student and dropped afterwards, averaged over depths.

    Args:
        student, teacher: generators with taps.
        depths: relative depths in (0, 1] at which features `(N, C, H, W)` are compared.
    """

    teacher = True
    needs = ("student", "teacher")

    def __init__(self, student: nn.Module, teacher: nn.Module, depths: Sequence[float] = (0.5, 1.0)):
        super().__init__()
        self.own, self.other = Taps(student, depths), Taps(teacher, depths)
        # One forward of a few pixels tells the widths, whatever the architectures.
        probe = torch.zeros(1, 3, 16, 16)
        with torch.no_grad():
            for module in (student, teacher):
                parameter = next(module.parameters())
                mode = module.training
                module.eval()(probe.to(parameter))
                module.train(mode)
        widths = zip(self.own(), self.other(), strict=True)
        self.adapters = nn.ModuleList(nn.Conv2d(s.shape[1], t.shape[1], 1) for s, t in widths)

    def forward(self, view: View) -> Tensor:
        triples = zip(self.adapters, self.own(), self.other(), strict=True)
        terms = [F.l1_loss(adapt(s), t.detach()) / (t.detach().std() + 1e-8) for adapt, s, t in triples]
        return torch.stack(terms).mean()


class DiscriminatorFeatures(GeneratorLoss):
    """Mean over layers of L1 between the teacher discriminator's features of the student's and of the
    teacher's SR, each divided by the latter's mean magnitude (as in DCD, Li et al. 2021, and GCC).

    Args:
        discriminator: the teacher's, frozen, with taps.
        depths: relative depths in (0, 1] of the layers used.
    """

    teacher = True
    needs = ("discriminator",)

    def __init__(self, discriminator: nn.Module, depths: Sequence[float] = (0.5, 1.0)):
        super().__init__()
        # In a list, so that the frozen discriminator is not a parameter of the student's loss.
        self.frozen = [discriminator]
        self.taps = Taps(discriminator, depths)

    def forward(self, view: View) -> Tensor:
        assert view.target is not None
        targets, features = self._features(view.target), self._features(view.sr)
        return feature_l1(features, {name: value.detach() for name, value in targets.items()})

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        self.frozen[0](image)
        return dict(self.taps.features)
