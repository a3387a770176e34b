"""What losses have in common."""

import weakref
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from srkd.errors import UsageError


class View(NamedTuple):
    """One generator's batch as its losses see it; images `(N, 3, H, W)`, about [0, 1], never clamped.

    Args:
        lr: the input.
        hr: the ground truth.
        sr: the generator's output.
        target: the teacher's output, without gradient; None where no teacher runs.
    """

    lr: Tensor
    hr: Tensor
    sr: Tensor
    target: Tensor | None = None


class GeneratorLoss(nn.Module):
    """A scalar loss of a View. Subclasses say in `needs` which modules their constructor takes."""

    teacher: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def forward(self, view: View) -> Tensor:
        raise NotImplementedError


class Taps:
    """Features of a module's named layers, caught at its latest forward pass.

    Args:
        module: a model with `taps`, the names of its layers in order.
        depths: relative depths in (0, 1], so that networks of different lengths meet at equal depth.
    """

    def __init__(self, module: nn.Module, depths: Sequence[float]):
        names = getattr(module, "taps", None)
        if not names:
            raise UsageError(
                "feature distillation needs a teacher and a student of this package's architectures"
            )
        if not depths or not all(0 < depth <= 1 for depth in depths):
            raise UsageError(f"depths must lie in (0, 1], not {list(depths)}")
        self.names = [names[max(round(depth * len(names)), 1) - 1] for depth in depths]
        self.features: dict[str, Tensor] = {}
        hooks = [
            module.get_submodule(name).register_forward_hook(_keeper(self.features, name))
            for name in self.names
        ]
        # The module outlives the loss: a stage that is over must not go on keeping features.
        weakref.finalize(self, lambda: [hook.remove() for hook in hooks])

    def __call__(self) -> list[Tensor]:
        return [self.features[name] for name in self.names]


def _keeper(features: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        features[name] = output

    return keep
