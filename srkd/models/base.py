"""What generators and discriminators have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn


class Wire(NamedTuple):
    """A layer of a merged network with the channels that it makes and takes, for srkd.models.resizing.

    Args:
        form: the module's name, with `{}` for its block's number.
        out: the group of channels that it makes; empty where their number is fixed, as of pixels. Layers
            whose results are added make one group. A layer with one weight for each channel makes what it
            takes.
        ins: the groups that it takes, one after another; of none where it takes pixels.
        block: its block's number.
        fan: channels that it makes for each channel of the group, as before a pixel-shuffle.
    """

    form: str
    out: str
    ins: tuple[str, ...] = ()
    block: int | None = None
    fan: int = 1

    @property
    def key(self) -> str:
        """The module's name."""
        return self.form.format(self.block)


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
        variants: what `srkd compress` may vary: of each argument of the architecture the values to try. One
            that stands alone is how its students are built. Empty for an architecture that is no student.
        residual: whether its blocks add to their input, so that some of them can be left out.

    A re-parameterised block has a method `merged() -> nn.Module`, which returns the plain layer that computes
    the same; srkd.models.fusing uses it for counting, running and export.
    """

    tail_name: ClassVar[str] = ""
    variants: ClassVar[Mapping[str, Sequence[Any]]] = {}
    residual: ClassVar[bool] = False
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

    def wiring(self) -> list[Wire]:
        """Its layers with weights, merged ones as one, so that a network of another size can start from its
        weights. None for an architecture that does not say."""
        return []


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
