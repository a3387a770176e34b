"""What every generator of this package has."""

from typing import Any, ClassVar

from torch import Tensor, nn


class Generator(nn.Module):
    """A super-resolution network.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.

    Attributes:
        scale: the super-resolution factor.
        radius: LR pixels around an output pixel that it depends on; tiles must overlap by as many.
        taps: names of the layers that feature distillation may read, in order; empty for foreign networks.
        config: what rebuilds it, `create_generator(**config)`; None for a network of another package.
        info: facts stored beside the weights (strategy, steps, licence); empty for fresh weights.
        tail: name of the part that turns features into pixels. Networks that differ only there share a trunk,
            so one may start from the other's weights.

    A re-parameterised block has a method `merged() -> nn.Module`, the plain layer that computes the same;
    srkd.models.fusing uses it for counting, running and export.
    """

    tail: ClassVar[str] = ""

    scale: int
    radius: int
    taps: list[str]
    config: dict[str, Any] | None
    info: dict[str, Any]

    def __init__(self, scale: int, radius: int = 0, taps: list[str] | None = None):
        super().__init__()
        self.scale, self.radius, self.taps = scale, radius, taps or []
        self.config, self.info = None, {}

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
