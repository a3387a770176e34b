"""Discriminators. All return logits, never probabilities."""

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from srkd.errors import choose
from srkd.models.base import Discriminator


class VGGDiscriminator(Discriminator):
    """SRGAN's discriminator (Ledig et al. 2017): eight 3x3 convolutions, every other one with stride 2.

    The published one ends in two dense layers on a map of fixed size. Here the map is averaged first, so the
    weights do not depend on the crop size.

    Args:
        channels: width of the first layer (64 as published); the last is 8 times as wide.
        norm: `bn` as published, `spectral`, or `none`.

    Shape:
        `(N, 3, H, W)` in [0, 1] with H, W >= 16 to logits `(N, 1)`.
    """

    def __init__(self, channels: int = 64, norm: Literal["bn", "spectral", "none"] = "bn"):
        choose("norm", norm, ("bn", "spectral", "none"))
        widths = [channels * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
        super().__init__(taps=[f"features.{index}" for index in range(1, len(widths), 2)])
        stages: list[nn.Module] = []
        previous = 3
        for index, width in enumerate(widths):
            conv: nn.Module = nn.Conv2d(previous, width, 3, stride=1 + index % 2, padding=1)
            if norm == "spectral":
                conv = spectral_norm(conv)
            batch_norm = [nn.BatchNorm2d(width)] if norm == "bn" and index else []
            stages.append(nn.Sequential(conv, *batch_norm, nn.LeakyReLU(0.2)))
            previous = width
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths[-1], 16 * channels),
            nn.LeakyReLU(0.2),
            nn.Linear(16 * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        # Centred on zero: images in [0, 1] would push all first activations in one direction.
        return self.classifier(self.features(x * 2 - 1))


class UNetDiscriminator(Discriminator):
    """Real-ESRGAN's discriminator (Wang et al. 2021, arXiv 2107.10833): a U-Net that judges every pixel, each
    inner convolution spectrally normalised (Miyato et al. 2018, arXiv 1802.05957).

    Args:
        channels: width at full resolution (64 as published); the deepest of three levels is 8 times as wide.

    Shape:
        `(N, 3, H, W)` in [0, 1] with H, W >= 8 to logits `(N, 1, H, W)`.
    """

    def __init__(self, channels: int = 64):
        super().__init__(taps=[*(f"down.{k}" for k in range(3)), *(f"up.{k}" for k in range(3))])
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(channels * k, channels * 2 * k, 4, 2, 1, bias=False)) for k in (1, 2, 4)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(channels * 2 * k, channels * k, 3, padding=1, bias=False))
            for k in (4, 2, 1)
        )
        self.refine = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (
                    spectral_norm(nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
                    nn.LeakyReLU(0.2),
                )
            )
        )
        self.classifier = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [F.leaky_relu(self.head(x * 2 - 1), 0.2)]
        for down in self.down:
            levels.append(F.leaky_relu(down(levels[-1]), 0.2))
        out = levels.pop()
        for up in self.up:
            skip = levels.pop()
            # To the skip's size: an odd side loses a pixel on the way down.
            out = F.interpolate(out, skip.shape[-2:], mode="bilinear", align_corners=False)
            out = F.leaky_relu(up(out), 0.2) + skip
        return self.classifier(self.refine(out))


class PatchDiscriminator(Discriminator):
    """PatchGAN (Isola et al. 2017, arXiv 1611.07004): a fully convolutional classifier of overlapping
    patches, 70x70 with three layers.

    Args:
        channels: width of the first layer (64 as published); it doubles from layer to layer, at most to 8
            times.
        layers: convolutions of stride 2.
        norm: `bn` as published, `spectral`, or `none`.

    Shape:
        `(N, 3, H, W)` in [0, 1] with H, W >= 2^(layers + 2) to a map of logits
        `(N, 1, H / 2^layers - 2, W / 2^layers - 2)`.
    """

    def __init__(self, channels: int = 64, layers: int = 3, norm: Literal["bn", "spectral", "none"] = "bn"):
        choose("norm", norm, ("bn", "spectral", "none"))
        super().__init__(taps=[f"features.{index}" for index in range(layers + 1)])
        widths = [3, *(channels * min(2**k, 8) for k in range(layers + 1))]
        stages: list[nn.Module] = []
        for index, (before, width) in enumerate(pairwise(widths)):
            conv: nn.Module = nn.Conv2d(before, width, 4, 2 if index < layers else 1, 1)
            if norm == "spectral":
                conv = spectral_norm(conv)
            batch_norm = [nn.BatchNorm2d(width)] if norm == "bn" and index else []
            stages.append(nn.Sequential(conv, *batch_norm, nn.LeakyReLU(0.2)))
        self.features = nn.Sequential(*stages)
        self.classifier = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x * 2 - 1))
