"""The blocks that sub-pixel upsampling makes of LR pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.losses.base import GeneratorLoss, View


class Blocking(GeneratorLoss):
    """How much steeper SR is at the borders of LR pixels than inside them: the mean of |excess of SR - excess
    of HR|, where the excess is the local mean of |difference of neighbours| at one place within the LR
    pixels, less that at all places. After the blocking effect factor of PSNR-B (Yim & Bovik 2011, IEEE TIP
    20(1), doi 10.1109/TIP.2010.2056376), with windows.

    Perceptual and adversarial losses ask for steep edges, which a network has at once by making each LR pixel
    a block, or by ruling lines between them. The loss `grid` sees a pattern that repeats with one sign;
    that of blocks changes with the picture, and cancels there.

    Args:
        window: side, in LR pixels, of the squares over which differences are averaged.
    """

    def __init__(self, window: int = 8):
        super().__init__()
        self.window = window

    def forward(self, view: View) -> Tensor:
        scale = view.hr.shape[-1] // view.lr.shape[-1]
        found = []
        for sr, hr in ((view.sr, view.hr), (view.sr.mT, view.hr.mT)):
            excess = [place_excess(image, scale, self.window) for image in (sr, hr)]
            found.append((excess[0] - excess[1]).abs().mean())
        return torch.stack(found).mean()


def place_excess(images: Tensor, scale: int, window: int) -> Tensor:
    """The local mean of |difference of neighbours along rows| at each place within LR pixels, less its mean
    over places.

    Args:
        images: `(N, 3, H, W)`, H and W multiples of `scale`, W at least twice it.
        scale: side of LR pixels.
        window: side of the squares, in LR pixels; they overlap by half.

    Returns:
        `(N, scale, h, w)`; of the places the last is the border to the next LR pixel.
    """
    gray = images.mean(1)
    steep = (gray[..., 1:] - gray[..., :-1]).abs()
    # The last LR pixel has no border on its far side.
    count = gray.shape[-1] // scale - 1
    places = steep[..., : count * scale].unflatten(-1, (count, scale)).permute(0, 3, 1, 2)
    side = min(window, gray.shape[-2] // scale, count)
    stride = max(side // 2, 1)
    pooled = F.avg_pool2d(places, (side * scale, side), (stride * scale, stride))
    return pooled - pooled.mean(1, keepdim=True)
