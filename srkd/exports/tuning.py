"""Quantization-aware fine-tuning of a fused network towards its own fp32 images.

By torch's own fake quantization: plain convolutions come out, which every runtime's quantizer takes. nncf 3.4
was tried; it compiles a C++ extension as it is used first, which takes a compiler and more than a minute.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.models.copies import copy_without_hooks
from srkd.terminal import Progress

# Crops of LR images, as many at once, and the rate that Adam starts with; it falls to nothing as a cosine.
_SIDE, _BATCH, _RATE = 48, 4, 1e-4


class _FakeInt8(nn.Module):
    """A convolution as it is computed in int8: what goes in and what comes out rounded to 255 steps between
    fixed bounds, its kernels to 127 on either side of zero, each channel by itself. Gradients pass as if
    nothing were rounded."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv, self.watching = conv, True
        self.taken, self.given = (0.0, 0.0), (0.0, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        if self.watching:
            found = conv(x)
            self.taken, self.given = _widen(self.taken, x), _widen(self.given, found)
            return found
        steps = (conv.weight.detach().abs().amax((1, 2, 3)) / 127).clamp_min(1e-8)
        zeros = torch.zeros_like(steps, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(conv.weight, steps, zeros, 0, -127, 127)
        x = _round(x, self.taken)
        found = F.conv2d(x, weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        return _round(found, self.given)


def _widen(bounds: tuple[float, float], x: Tensor) -> tuple[float, float]:
    return min(bounds[0], float(x.min())), max(bounds[1], float(x.max()))


def _round(x: Tensor, bounds: tuple[float, float]) -> Tensor:
    """To 255 steps between bounds, of which one is zero."""
    step = max(bounds[1] - bounds[0], 1e-8) / 255
    return torch.fake_quantize_per_tensor_affine(x, step, round(-bounds[0] / step), 0, 255)


def tune(
    fused: nn.Module, images: Sequence[np.ndarray], steps: int, progress: Progress | None = None
) -> nn.Module:
    """Fine-tunes a network so that int8 loses less: each convolution but the first and the last is computed
    as in int8, and the images are drawn towards those of the network as it was, by L1.

    Args:
        fused: the network, in eval mode.
        images: LR images `(1, 3, H, W)` in [0, 1], which set the ranges, too.
        steps: of Adam.
        progress: called as progress(description, done, total).

    Returns:
        A copy of the same layers with other weights.
    """
    student = copy_without_hooks(fused).requires_grad_(True)
    layers = _wrap(student)
    with torch.no_grad():
        for image in images:
            student(torch.from_numpy(image))
    for layer in layers:
        layer.watching = False
    parameters = [value for value in student.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(parameters, _RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    rng = np.random.default_rng(0)
    for step in range(steps):
        batch = _draw(images, rng)
        with torch.no_grad():
            target = fused(batch)
        loss = F.l1_loss(student(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        if progress is not None:
            progress("fine-tuning for int8", step + 1, steps)
    _unwrap(student)
    return student.requires_grad_(False)


def _draw(images: Sequence[np.ndarray], rng: np.random.Generator) -> Tensor:
    """Crops at random places, flipped and turned at random."""
    side = min(_SIDE, *(min(image.shape[2:]) for image in images))
    crops = []
    for number in rng.integers(len(images), size=_BATCH):
        image = images[number][0]
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[1:])
        crop = image[:, top : top + side, left : left + side]
        crop = np.rot90(crop, int(rng.integers(4)), (1, 2))
        crops.append(crop[..., ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops)))


def _wrap(model: nn.Module) -> list[_FakeInt8]:
    """Puts convolutions, except the first and the last in the order in which they stand, into fake int8."""
    places = [
        (module, name)
        for module in list(model.modules())
        for name, child in module.named_children()
        if isinstance(child, nn.Conv2d)
    ]
    order = {child: number for number, child in enumerate(model.modules())}
    places.sort(key=lambda place: order[getattr(*place)])
    layers = []
    for module, name in places[1:-1]:
        layer = _FakeInt8(getattr(module, name))
        setattr(module, name, layer)
        layers.append(layer)
    return layers


def _unwrap(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _FakeInt8):
                setattr(module, name, child.conv)
