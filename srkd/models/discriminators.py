"""Discriminators. All return logits, never probabilities."""

from typing import Literal

from torch import Tensor, nn

from srkd.errors import choose


class VGGDiscriminator(nn.Module):
    """SRGAN's discriminator (Ledig et al. 2017): eight 3x3 convolutions, every other one with stride 2.

    The published one ends in two dense layers on a map of fixed size; here the map is averaged first, so
    any crop size goes in and weights do not depend on it.

    Args:
        channels: width of the first layer (64 as published); the last is 8 times as wide.
        norm: `bn` as published, `spectral`, or `none`.

    Shape:
        `(N, 3, H, W)` in [0, 1] with H, W >= 16 to logits `(N, 1)`.
    """

    def __init__(self, channels: int = 64, norm: Literal["bn", "spectral", "none"] = "bn"):
        super().__init__()
        choose("norm", norm, ("bn", "spectral", "none"))
        widths = [channels * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
        stages: list[nn.Module] = []
        previous = 3
        for index, width in enumerate(widths):
            conv: nn.Module = nn.Conv2d(previous, width, 3, stride=1 + index % 2, padding=1)
            if norm == "spectral":
                conv = nn.utils.parametrizations.spectral_norm(conv)
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
        self.taps = [f"features.{index}" for index in range(1, len(widths), 2)]

    def forward(self, x: Tensor) -> Tensor:
        # Centred on zero: photographs in [0, 1] would push every first activation the same way.
        return self.classifier(self.features(x * 2 - 1))
