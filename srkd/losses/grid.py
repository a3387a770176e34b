"""The regular pattern that sub-pixel upsampling leaves."""

from torch import Tensor

from srkd.losses.base import GeneratorLoss, View
from srkd.losses.functional import grid_pattern


class Grid(GeneratorLoss):
    """mean |pattern of SR - HR|, where the pattern is what repeats from one LR pixel to the next.

    Perceptual losses reward a fine lattice on texture (checkerboard artefacts: Odena et al. 2016, doi
    10.23915/distill.00003), and an L1 weak enough to allow texture does not prevent it. Texture in another
    place than HR's averages out of the pattern; a lattice does not.

    Args:
        window: side, in LR pixels, of the squares over which the pattern is averaged.
    """

    def __init__(self, window: int = 7):
        super().__init__()
        self.window = window

    def forward(self, view: View) -> Tensor:
        scale = view.hr.shape[-1] // view.lr.shape[-1]
        window = min(self.window, *view.lr.shape[-2:])
        return grid_pattern(view.sr - view.hr, scale, window).abs().mean()
