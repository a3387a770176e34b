"""The SRResNet / SRGAN generator (Ledig et al. 2017, arXiv 1609.04802)."""

from math import ceil
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import choose
from srkd.models.base import Generator, Wire


class SRGANGenerator(Generator):
    """SRResNet: conv9, residual blocks at LR size under a long skip, sub-pixel upsampling.

    Args:
        channels: width of the trunk.
        blocks: number of residual blocks.
        scale: 2, 3 or 4. The paper's tail reaches 4 in two x2 stages.
        norm: `bn` after each trunk convolution as published, or `none`.
        tail: `paper`, pixel-shuffle stages at full width and a 9x9 convolution at HR size; or `lr`, one
            3x3 convolution at LR size and one pixel-shuffle, several times cheaper.
        skip: what is added to the output: `none` as published, or the input upscaled by `nearest` or
            `bilinear`.
        residual_init: factor on the initial weights of each block's last convolution (ESRGAN uses 0.1).

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    tail_name = "tail"
    residual = True
    variants: ClassVar = {
        "channels": (8, 12, 16, 20, 24, 32, 48, 64),
        "blocks": (1, 2, 4, 8, 16),
        "tail": ("lr",),
        "skip": ("bilinear",),
        "residual_init": (0.1,),
    }

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 16,
        scale: int = 4,
        norm: Literal["none", "bn"] = "none",
        tail: Literal["paper", "lr"] = "paper",
        skip: Literal["none", "nearest", "bilinear"] = "none",
        residual_init: float = 1.0,
    ):
        choose("scale", scale, (2, 3, 4))
        choose("tail", tail, ("paper", "lr"))
        choose("skip", skip, ("none", "nearest", "bilinear"))
        # The factors of the pixel-shuffles, and how far beyond the trunk the tail reaches, in LR pixels.
        stages = [2, 2] if scale == 4 else [scale]
        reach = 1.0 if tail == "lr" else sum(1 / 2**k for k in range(len(stages))) + 4 / scale
        # The enlarged input needs no more: bilinear reads one pixel beside the pixel itself.
        super().__init__(
            scale,
            radius=ceil(4 + 2 * blocks + 1 + reach),
            taps=[*(f"body.{k}" for k in range(blocks)), "fuse"],
        )
        self.skip = skip
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU(channels))
        self.body = nn.Sequential(*(ResidualBlock(channels, norm, residual_init) for _ in range(blocks)))
        self.fuse = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), *_norm(norm, channels))
        if tail == "lr":
            self.tail = nn.Sequential(nn.Conv2d(channels, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        else:
            self.tail = nn.Sequential(
                *(_upsample(channels, factor) for factor in stages), nn.Conv2d(channels, 3, 9, padding=4)
            )

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x)
        out = self.tail(features + self.fuse(self.body(features)))
        if self.skip == "bilinear":
            out = out + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        elif self.skip == "nearest":
            out = out + F.interpolate(x, scale_factor=self.scale, mode="nearest")
        return out

    def wiring(self) -> list[Wire]:
        if any(isinstance(module, nn.BatchNorm2d) for module in self.modules()):
            return []
        wires = [Wire("head.0", "trunk"), Wire("head.1", "trunk")]
        for number in range(len(self.body)):
            inner = f"inner_{number}"
            wires += [
                Wire("body.{}.layers.0", inner, ("trunk",), number),
                Wire("body.{}.layers.1", inner, (), number),
                Wire("body.{}.layers.2", "trunk", (inner,), number),
            ]
        wires.append(Wire("fuse.0", "trunk", ("trunk",)))
        if len(self.tail) == 2:
            return [*wires, Wire("tail.0", "", ("trunk",))]
        source = "trunk"
        for number, stage in enumerate(list(self.tail)[:-1]):
            assert isinstance(stage, nn.Sequential)
            convolution = stage[0]
            assert isinstance(convolution, nn.Conv2d)
            made = f"up_{number}"
            fan = convolution.out_channels // convolution.in_channels
            wires += [
                Wire(f"tail.{number}.0", made, (source,), None, fan),
                Wire(f"tail.{number}.2", made),
            ]
            source = made
        return [*wires, Wire(f"tail.{len(self.tail) - 1}", "", (source,))]


class ResidualBlock(nn.Module):
    """conv3-[BN]-PReLU-conv3-[BN] added to its input, `(N, C, H, W)` to the same shape."""

    def __init__(self, channels: int, norm: str, residual_init: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            *_norm(norm, channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            *_norm(norm, channels),
        )
        last = [layer for layer in self.layers if isinstance(layer, nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight.mul_(residual_init)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _norm(norm: str, channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if choose("norm", norm, ("none", "bn")) == "bn" else []


def _upsample(channels: int, factor: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor), nn.PReLU(channels)
    )
