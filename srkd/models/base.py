"""What generators and discriminators have in common."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn


class Generator(nn.Module):
    """A super-resolution network.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.

    Attributes:
        scale: the super-resolution factor.
        radius: how many LR pixels away an output pixel depends on; tiles must overlap by as many.
        taps: names of the layers that feature distillation may read, in order; empty for foreign networks.
        config: what rebuilds it, `create_generator(**config)`; None for a network of another package.
        info: facts stored beside the weights (strategy, steps, licence); empty for fresh weights.
        exact: whether nothing beyond the radius counts, so that tiles give what the whole image gives.
        tail_name: name of the module that turns features into pixels; empty if there is no such module.
            Networks that differ only there can start from each other's weights.

    A re-parameterised block has a method `merged() -> nn.Module`, which returns the plain layer that computes
    the same; srkd.models.fusing uses it for counting, running and export.
    """

    tail_name: ClassVar[str] = ""
    exact: bool = True

    scale: int
    radius: int
    taps: list[str]
    config: dict[str, Any] | None
    info: dict[str, Any]

    def __init__(self, scale: int, radius: int, taps: Sequence[str] = ()):
        super().__init__()
        self.scale, self.radius, self.taps = scale, radius, list(taps)
        self.config, self.info = None, {}

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Discriminator(nn.Module):
    """A network that tells photographs from generated images.

    Shape:
        Images `(N, 3, H, W)` in [0, 1] to logits, `(N, 1)` or a map `(N, 1, h, w)`.

    Attributes:
        taps: names of the layers that feature distillation may read, in order.
        config: what rebuilds it, `create_discriminator(**config)`; None until `create_discriminator` sets it.
        info: facts stored beside the weights; empty for fresh weights.
    """

    taps: list[str]
    config: dict[str, Any] | None
    info: dict[str, Any]

    def __init__(self, taps: Sequence[str]):
        super().__init__()
        self.taps = list(taps)
        self.config, self.info = None, {}

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
