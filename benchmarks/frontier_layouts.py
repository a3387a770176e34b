"""The published networks of the frontier: their layouts, and the scores and speeds that the paper prints."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

import srkd
from benchmarks.runtimes import TEACHER


class EdgeSRGAN(nn.Module):
    """The generator of EdgeSRGAN (arXiv 2209.03355), for its speed.

    Residual blocks without batch norm, a first kernel of 9, both skips, and two transposed convolutions with
    kernel and stride 2 instead of sub-pixel ones. Sources disagree on the rest: a public summary of the paper
    says ReLU, about 660 thousand parameters (kernels of 3 would make 682), and a tiny version of 32 channels
    with 90 thousand; its code (PIC4SeR/EdgeSRGAN, utils/srgan.py) has PReLU, and 64 channels in the tiny
    version. So the tiny one is timed both ways. The scaling of values before and after the network is
    omitted.

    Args:
        channels: width.
        blocks: number of residual blocks.
        activation: of the head and the blocks.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, 4*H, 4*W)` in [-1, 1].
    """

    def __init__(self, channels: int = 64, blocks: int = 8, activation: Callable[[], nn.Module] = nn.ReLU):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), activation())
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                activation(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 3, 2, stride=2),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.head(x)
        for block in self.body:
            x = x + block(x)
        return self.tail(first + self.last(x))


class Rival(NamedTuple):
    """A published network: its layout, and the printed LPIPS on Set5 and frames per second."""

    build: Callable[[], nn.Module]
    lpips: float
    fps: float


SOURCE = "Angarano et al. 2023, arXiv 2209.03355v2: LPIPS (AlexNet) on Set5 x4; fps at 80x60 on their CPU"
THEIR_BICUBIC = 0.340
# SRGAN without batch norm, which inference folds into the convolutions.
THEIRS = {
    "SRGAN": Rival(partial(srkd.create_generator, TEACHER), 0.094, 2.70),
    "EdgeSRGAN": Rival(partial(EdgeSRGAN, activation=nn.PReLU), 0.095, 10.26),
    "EdgeSRGAN-tiny 64x4, distilled": Rival(partial(EdgeSRGAN, 64, 4), 0.132, 37.99),
    "EdgeSRGAN-tiny 32x4, distilled": Rival(partial(EdgeSRGAN, 32, 4), 0.132, 37.99),
}
