"""The published networks of the frontier: their layouts, rebuilt here for their speed, and their scores."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
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


def conv(channels: int, out: int | None = None, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, out or channels, kernel, padding=kernel // 2)


def shuffle(channels: int, factor: int, out: int = 3) -> nn.Sequential:
    return nn.Sequential(conv(channels, out * factor**2), nn.PixelShuffle(factor))


class Residual(nn.Module):
    """x plus what a body makes of it."""

    def __init__(self, *body: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def build_disp(channels: int = 32) -> nn.Module:
    """DISP (NTIRE 2026, team 18), merged: four residual blocks of four convolutions with SiLU after each."""
    blocks = [Residual(*(layer for _ in range(4) for layer in (conv(channels), nn.SiLU()))) for _ in range(4)]
    body = Residual(*blocks, conv(channels, kernel=1))
    return nn.Sequential(conv(3, channels), body, shuffle(channels, 4))


class Attention(nn.Module):
    """The block of ERRN2: four convolutions, then SPAN's attention without parameters."""

    def __init__(self, channels: int):
        super().__init__()
        layers = [layer for _ in range(3) for layer in (conv(channels), nn.LeakyReLU(0.1))]
        self.body = nn.Sequential(*layers, conv(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return (y + x) * (torch.sigmoid(y) - 0.5)


def build_errn2(channels: int = 32) -> nn.Module:
    """ERRN2 (NTIRE 2026, team 20), merged."""
    body = Residual(*(Attention(channels) for _ in range(6)), conv(channels))
    return nn.Sequential(conv(3, channels), body, shuffle(channels, 4))


class SpatialAttention(nn.Module):
    """Enhanced spatial attention, ESA (RFANet, Liu et al. 2020), as EFDN has it: x times a mask from features
    of a seventh of its size and less."""

    def __init__(self, channels: int):
        super().__init__()
        width = channels // 4
        self.first, self.side, self.last = (
            conv(channels, width, 1),
            conv(width, kernel=1),
            conv(width, channels, 1),
        )
        self.down = nn.Sequential(nn.Conv2d(width, width, 3, stride=2), nn.MaxPool2d(7, 3))
        self.body = nn.Sequential(conv(width), nn.ReLU(), conv(width), nn.ReLU(), conv(width))

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        small = self.body(self.down(first))
        large = F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.last(large + self.side(first)))


class EdgeCell(nn.Module):
    """The block of EFDN."""

    def __init__(self, channels: int):
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(conv(channels, kernel=kernel), nn.PReLU(channels)) for kernel in (1, 3, 3)
        )
        self.branches = nn.ModuleList(conv(channels, channels // 2, 1) for _ in range(4))
        self.join = nn.Sequential(conv(2 * channels, channels, 1), SpatialAttention(channels))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for step in self.steps:
            features.append(step(features[-1]))
        parts = [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]
        return x + self.join(torch.cat(parts, 1))


class EFDN(nn.Module):
    """EFDN (arXiv 2204.08759; the baseline of NTIRE 2025), merged."""

    def __init__(self, channels: int = 48):
        super().__init__()
        self.head = conv(3, channels)
        self.cells = nn.ModuleList(EdgeCell(channels) for _ in range(4))
        self.joins = nn.ModuleList(conv(2 * channels, channels, 1) for _ in range(3))
        self.tail = shuffle(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        head = self.head(x)
        one = self.cells[0](head)
        two = self.cells[1](one)
        three = self.cells[2](self._join(0, one, two))
        four = self.cells[3](self._join(1, two, three))
        return self.tail(self._join(2, two, four) + head)

    def _join(self, number: int, *features: Tensor) -> Tensor:
        return self.joins[number](torch.cat(features, 1))


class TPSR(nn.Module):
    """TPSR, searched for size (arXiv 2007.04356). The shift by the mean colour is omitted."""

    def __init__(self, channels: int = 16):
        super().__init__()

        def plain(kernel: int) -> nn.Sequential:
            return nn.Sequential(conv(channels, kernel=kernel), nn.PReLU())

        def separable(kernel: int) -> nn.Sequential:
            depth = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
            return nn.Sequential(depth, nn.PReLU(), conv(channels, kernel=1), nn.PReLU())

        self.head = conv(3, channels)
        self.early = nn.Sequential(separable(5), plain(7), plain(7))
        self.main = nn.Sequential(plain(3), plain(5), separable(3))
        self.side = nn.Sequential(plain(3), plain(5), plain(3))
        self.skip = plain(7)
        self.tail = nn.Sequential(nn.PReLU(), shuffle(channels, 2), shuffle(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        early = self.early(x)
        return self.tail(self.skip(x) + self.side(early) + self.main(early))


class Scored(NamedTuple):
    """A published network whose published weights were scored as ours are: PSNR on Set5 under y-crop4, and
    st-lpips-alex."""

    build: Callable[[], nn.Module]
    psnr: float
    lpips: float


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

SCORED_SOURCE = (
    "their published weights, which are no part of this project, scored in November 2026 on the same files: "
    "Amazingren/NTIRE2026_ESR (SPAN, DISP, ERRN2), icandle/EFDN, royson/tpsr"
)
SCORED = {
    "SPAN 28": Scored(partial(srkd.create_generator, "span", channels=28), 31.75, 0.130),
    "DISP": Scored(build_disp, 31.94, 0.127),
    "ERRN2": Scored(build_errn2, 31.89, 0.122),
    "EFDN": Scored(EFDN, 32.08, 0.121),
    "TPSR-D2": Scored(TPSR, 29.61, 0.0743),
}
