"""int8 in torch: convolutions that round as runtimes' do, and which of them int8 harms most."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.exports.int8 import WEIGHT_STEPS, fit
from srkd.exports.request import Shape
from srkd.models.copies import copy_without_hooks
from srkd.terminal import Progress

# The mean squared error that int8 may add to images, as PSNR between int8 and fp32: 49 dB. Beside the 31 dB
# that networks reach on photographs that costs 0.07 dB.
_ERROR = 10**-4.9
# At most this share of the convolutions stays float32: int8 is for speed.
_SHARE = 0.25
# Middles of so many calibration images, of this side, tell convolutions apart.
_IMAGES, _MIDDLE = 12, Shape((96, 96), 1)


class FakeInt8(nn.Conv2d):
    """A convolution as it is computed in int8: what goes in and what comes out rounded to 255 steps between
    fixed bounds, its kernels to WEIGHT_STEPS on either side of zero, each channel by itself. Gradients pass
    as if nothing were rounded. `round_convolutions` makes them of plain ones."""

    state: str
    taken: tuple[float, float]
    given: tuple[float, float]

    def forward(self, input: Tensor) -> Tensor:
        if self.state == "float":
            return super().forward(input)
        if self.state == "watching":
            found = super().forward(input)
            self.taken, self.given = _widen(self.taken, input), _widen(self.given, found)
            return found
        steps = (self.weight.detach().abs().amax((1, 2, 3)) / WEIGHT_STEPS).clamp_min(1e-8)
        zeros = torch.zeros_like(steps, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, steps, zeros, 0, -WEIGHT_STEPS, WEIGHT_STEPS
        )
        return _round(self._conv_forward(_round(input, self.taken), weight, self.bias), self.given)


def _widen(bounds: tuple[float, float], x: Tensor) -> tuple[float, float]:
    return min(bounds[0], float(x.min())), max(bounds[1], float(x.max()))


def _round(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """To 255 steps between bounds, of which one is zero."""
    step = max(bounds[1] - bounds[0], 1e-8) / 255
    return torch.fake_quantize_per_tensor_affine(x, step, round(-bounds[0] / step), 0, 255)


@contextmanager
def round_convolutions(
    model: nn.Module, images: Sequence[np.ndarray], floats: Sequence[str] = ()
) -> Iterator[dict[str, FakeInt8]]:
    """Inside, a network's plain convolutions compute as in int8, except the first and the last in the order
    in which they stand, and some by name.

    Args:
        model: the network, changed in place.
        images: LR images `(1, 3, H, W)` in [0, 1], which set the ranges.
        floats: names of convolutions that stay float32.

    Returns:
        Those that round, by name.
    """
    # Plain ones alone: a subclass may compute something else.
    found = {name: layer for name, layer in model.named_modules() if type(layer) is nn.Conv2d}
    layers: dict[str, FakeInt8] = {}
    for name in [name for name in list(found)[1:-1] if name not in floats]:
        layer = found[name]
        layer.__class__ = FakeInt8
        assert isinstance(layer, FakeInt8)
        layer.taken = layer.given = (0.0, 0.0)
        layers[name] = layer
    try:
        set_state(layers, "watching")
        with torch.no_grad():
            for image in images:
                model(torch.from_numpy(image))
        # Networks of others hold convolutions that only training takes.
        called = {name: layer for name, layer in layers.items() if layer.given != (0.0, 0.0)}
        set_state(called, "rounding")
        yield called
    finally:
        for name, layer in layers.items():
            del layer.state, layer.taken, layer.given
            found[name].__class__ = nn.Conv2d


def set_state(layers: Mapping[str, FakeInt8], state: str) -> None:
    """Sets what convolutions do: `rounding`, `float`, or `watching`, which is float and widens the ranges."""
    for layer in layers.values():
        layer.state = state


def find_sensitive(
    fused: nn.Module, images: Sequence[np.ndarray], progress: Progress | None = None
) -> tuple[str, ...]:
    """The fewest convolutions that have to stay float32 for int8 images to be near those of fp32.

    Each is measured alone: errors of several add up, to within half a dB on SPAN, Compact and the SRGAN
    students. Most networks have a few that cost far more than all others together: SPAN the one that joins
    its features, whose inputs differ in range and whose output becomes pixels.

    Args:
        fused: the network, in eval mode.
        images: LR images `(1, 3, H, W)` in [0, 1].
        progress: called as progress(description, done, total).

    Returns:
        Their names, the most sensitive first; a quarter of all at most.
    """
    model = copy_without_hooks(fused)
    middles = [fit(image, _MIDDLE) for image in images[:: -(-len(images) // _IMAGES) or 1]]
    with torch.no_grad():
        wanted = [model(torch.from_numpy(image)) for image in middles]

    @torch.no_grad()
    def measure() -> float:
        pairs = zip(middles, wanted, strict=True)
        return float(np.mean([F.mse_loss(model(torch.from_numpy(x)), y) for x, y in pairs]))

    with round_convolutions(model, images) as layers:
        if not layers or measure() <= _ERROR:
            return ()
        errors = {}
        set_state(layers, "float")
        for number, (name, layer) in enumerate(layers.items(), 1):
            layer.state = "rounding"
            errors[name] = measure()
            layer.state = "float"
            if progress is not None:
                progress("finding what int8 harms", number, len(layers))
    found = sorted(errors, key=lambda name: -errors[name])
    most = int(_SHARE * len(found))
    fewest = next((n for n in range(most) if sum(errors[name] for name in found[n:]) <= _ERROR), most)
    return tuple(found[:fewest])
