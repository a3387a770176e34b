"""Compact, the SRVGGNetCompact layout of Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833)."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import choose
from srkd.models.base import Generator, Wire


class Compact(Generator):
    """A plain chain of 3x3 convolutions and PReLUs at LR size, one pixel-shuffle, a nearest global skip.

    The state dict has spandrel's keys (`body.N.weight`), so spandrel, chaiNNer and ComfyUI load the
    weights as they are.

    Args:
        channels: width.
        convs: convolutions between the first and the last.
        scale: 2, 3 or 4.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    variants: ClassVar = {
        "channels": (8, 12, 16, 20, 24, 32, 48, 64),
        "convs": (2, 4, 6, 8, 12, 16),
    }

    def __init__(self, channels: int = 64, convs: int = 16, scale: int = 4):
        super().__init__(
            choose("scale", scale, (2, 3, 4)),
            radius=convs + 2,
            taps=[f"body.{2 * k + 1}" for k in range(1, convs + 1)],
        )
        body: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(convs):
            body += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        body.append(nn.Conv2d(channels, 3 * scale**2, 3, padding=1))
        self.body = nn.Sequential(*body)
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.upsampler(self.body(x)) + F.interpolate(x, scale_factor=self.scale, mode="nearest")

    def wiring(self) -> list[Wire]:
        # The convolutions of the chain are told apart by number, and the last makes pixels.
        count = (len(self.body) - 1) // 2
        wires = []
        for k in range(count):
            wires.append(Wire(f"body.{2 * k}", f"c{k}", (f"c{k - 1}",) if k else (), None))
            wires.append(Wire(f"body.{2 * k + 1}", f"c{k}"))
        return [*wires, Wire(f"body.{2 * count}", "", (f"c{count - 1}",))]
