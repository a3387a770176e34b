"""LPIPS as a loss."""

from torch import Tensor

from srkd.losses.base import GeneratorLoss, View
from srkd.losses.functional import cut_alike
from srkd.metrics.perceptual import load_lpips
from srkd.metrics.trunks import check_size


class LPIPS(GeneratorLoss):
    """LPIPS(SR, HR), mean over the batch (Zhang et al. 2018, arXiv 1801.03924).

    A student trained on a metric should not be judged by that metric alone: score another trunk, and the
    artefacts that LPIPS hardly sees (`srkd evaluate --metrics halo,lattice,flat-noise`).

    Args:
        variant: `st-lpips-alex` or `st-lpips-vgg` (installed with this package), `lpips-alex` or `lpips-vgg`
            (downloaded). The alex ones take a tenth of the time of the vgg ones.
        shift: both images are cut by a random number of rows and columns below this, as in `perceptual`.
    """

    def __init__(self, variant: str = "st-lpips-alex", shift: int = 1):
        super().__init__()
        self.metric, self.shift = load_lpips(variant), shift

    def forward(self, view: View) -> Tensor:
        return self.distance(view.sr, view.hr)

    def distance(self, sr: Tensor, real: Tensor) -> Tensor:
        """Mean LPIPS of two batches."""
        sr, real = cut_alike(sr, real, self.shift)
        check_size(*real.shape[-2:])
        return self.metric(sr, real).mean()


class LPIPSOutput(LPIPS):
    """Output distillation by LPIPS: LPIPS(SR_S, SR_T) (of several teachers, their mean image)."""

    distills = True
    needs = ("targets",)

    def forward(self, view: View) -> Tensor:
        return self.distance(view.sr, view.target)
