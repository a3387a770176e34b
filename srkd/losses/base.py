"""What losses have in common."""

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.models.base import Discriminator, Generator


class View(NamedTuple):
    """One generator's batch as its losses see it; images `(N, 3, H, W)`, about [0, 1], never clamped.

    Args:
        lr: the input.
        hr: the ground truth.
        sr: the generator's output.
        targets: the teachers' outputs, without gradient; empty where no teacher runs.
    """

    lr: Tensor
    hr: Tensor
    sr: Tensor
    targets: tuple[Tensor, ...] = ()

    @property
    def target(self) -> Tensor:
        """The teacher's output; of several teachers, their mean."""
        return self.targets[0] if len(self.targets) == 1 else torch.stack(self.targets).mean(0)


class GeneratorLoss(nn.Module):
    """A scalar loss of a View.

    Class attributes say what a loss is and needs:

    - `distills`: it is distillation, so the control is trained without it.
    - `needs`: `targets`, the teachers' outputs; and the modules that its constructor takes under these names:
      `student`; `teacher`, the first teacher's generator, to read its features or run it on other images;
      `discriminator`, the first teacher's.
    - `saved`: it holds untrained weights that a checkpoint must keep.
    """

    distills: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    saved: ClassVar[bool] = False

    def forward(self, view: View) -> Tensor:
        raise NotImplementedError


_watching = True


@contextlib.contextmanager
def unobserved() -> Iterator[None]:
    """No taps record inside: a loss that runs a network on other images must not change the features that
    other losses read."""
    global _watching
    before, _watching = _watching, False
    try:
        yield
    finally:
        _watching = before


class Taps:
    """Records the features of a network's named layers at each forward pass, except those under `unobserved`.

    Args:
        module: a network with `taps`.
        places: which layers: names, or relative depths in (0, 1], so that networks of different lengths are
            compared at equal depth.
        names: the layers to choose from. Without it, the network's `taps`.
    """

    def __init__(
        self,
        module: Generator | Discriminator,
        places: Sequence[float | str],
        names: Sequence[str] | None = None,
    ):
        names = names or module.taps
        if not names:
            raise UsageError(
                "feature distillation needs a teacher and a student whose layers are known: networks of this "
                "package, and RRDBNet and Compact of others; srkd taps FILE lists them"
            )
        self.names = [_find(names, place) for place in places]
        if not self.names:
            raise UsageError("feature distillation needs at least one tap")
        self.module = weakref.ref(module)
        self.features: dict[str, Tensor] = {}
        hooks = [
            module.get_submodule(name).register_forward_hook(_keeper(self.features, name))
            for name in self.names
        ]
        # The network outlives the loss: after its stage, no features must be kept.
        weakref.finalize(self, lambda: [hook.remove() for hook in hooks])

    def __call__(self) -> list[Tensor]:
        return [self.features[name] for name in self.names]

    def widths(self) -> list[int]:
        """The channels at each place, from a forward pass of a few pixels."""
        module = self.module()
        assert module is not None
        mode = module.training
        with torch.no_grad():
            module.eval()(torch.zeros(1, 3, 32, 32).to(next(module.parameters())))
        module.train(mode)
        return [feature.shape[1] for feature in self()]


class FeatureLoss(GeneratorLoss):
    """A distance between the student's and the teacher's features, averaged over depths.

    Args:
        student, teacher: generators with taps.
        depths: taps, by name or relative depth in (0, 1].
    """

    distills = True
    needs = ("student", "teacher")

    def __init__(self, student: Generator, teacher: Generator, depths: Sequence[float | str] = (0.5, 1.0)):
        super().__init__()
        self.own, self.other = Taps(student, depths), Taps(teacher, depths)

    def forward(self, view: View) -> Tensor:
        pairs = list(zip(self.own(), self.other(), strict=True))
        for own, other in pairs:
            if own.shape[-2:] != other.shape[-2:]:
                raise UsageError(
                    f"the student's features are {own.shape[-1]}x{own.shape[-2]}, the teacher's "
                    f"{other.shape[-1]}x{other.shape[-2]}: a loss of features needs networks that work at "
                    "one size"
                )
        return torch.stack([self.distance(k, s, t.detach()) for k, (s, t) in enumerate(pairs)]).mean()

    def distance(self, place: int, own: Tensor, other: Tensor) -> Tensor:
        """The scalar distance of the features `(N, C, h, w)` at the depth of that number."""
        raise NotImplementedError


def pool_features(features: Tensor, side: int) -> Tensor:
    """Averages over squares: `(N, C, h, w)` to `(N, C, h // side, w // side)`.

    Raises:
        UsageError: the features are smaller than a square.
    """
    if min(features.shape[-2:]) < side:
        size = "x".join(map(str, features.shape[-2:]))
        raise UsageError(f"features of {size} cannot be averaged over squares of {side}; raise --crop")
    return F.avg_pool2d(features, side)


def check_depth(place: float | str) -> None:
    """Raises UsageError for a relative depth outside (0, 1]; taps are named by the network that has them."""
    if not isinstance(place, str) and not 0 < place <= 1:
        raise UsageError(f"depths must lie in (0, 1], not {place}")


def _find(names: Sequence[str], place: float | str) -> str:
    if isinstance(place, str):
        if place not in names:
            raise UsageError(f"there is no tap '{place}'; choose from: {', '.join(names)}")
        return place
    check_depth(place)
    return names[max(round(place * len(names)), 1) - 1]


def _keeper(features: dict[str, Tensor], name: str) -> Callable[..., None]:
    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        if _watching:
            features[name] = output

    return keep
