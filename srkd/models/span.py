"""SPAN, the Swift Parameter-free Attention Network (Wan et al. 2023, arXiv 2311.12770)."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import choose
from srkd.models.base import Generator, Wire


class SPAN(Generator):
    """Six blocks at LR size with parameter-free attention, then one pixel-shuffle; re-parameterised
    convolutions throughout.

    The state dict has spandrel's keys (`block_1.c1_r.sk.weight`), so spandrel, chaiNNer and ComfyUI load the
    weights as they are. It lacks the published input normalisation, which `no_norm` tells spandrel.

    Args:
        channels: width.
        scale: 2, 3 or 4.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    tail_name = "upsampler"
    variants: ClassVar = {"channels": (8, 12, 16, 20, 22, 24, 28, 32, 36, 40, 48, 64)}

    def __init__(self, channels: int = 48, scale: int = 4):
        super().__init__(
            choose("scale", scale, (2, 3, 4)),
            # A 3x3 convolution at the start, three in each block, two at the end.
            radius=1 + 6 * 3 + 2,
            taps=[*(f"block_{number}" for number in range(1, 6)), "conv_2"],
        )
        self.register_buffer("no_norm", torch.zeros(1))
        self.conv_1 = Conv3XC(3, channels)
        for number in range(1, 6):
            setattr(self, f"block_{number}", SPAB(channels))
        self.block_6 = LastSPAB(channels)
        self.conv_cat = nn.Conv2d(4 * channels, channels, 1)
        self.conv_2 = Conv3XC(channels, channels)
        self.upsampler = nn.Sequential(
            nn.Conv2d(channels, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv_1(x)
        features = [first]
        for number in range(1, 6):
            features.append(getattr(self, f"block_{number}")(features[-1]))
        last, inner = self.block_6(features[-1])
        return self.upsampler(self.conv_cat(torch.cat([first, self.conv_2(last), features[1], inner], 1)))

    def wiring(self) -> list[Wire]:
        wires = [Wire("conv_1", "trunk")]
        for number in range(1, 7):
            block, first, second = f"block_{number}", f"inner_{number}", f"middle_{number}"
            wires += [
                Wire(f"{block}.c1_r", first, ("trunk",)),
                Wire(f"{block}.c2_r", second, (first,)),
                Wire(f"{block}.c3_r", "trunk", (second,)),
            ]
        return [
            *wires,
            Wire("conv_2", "last", ("trunk",)),
            Wire("conv_cat", "joined", ("trunk", "last", "trunk", "inner_6")),
            Wire("upsampler.0", "", ("joined",)),
        ]


class SPAB(nn.Module):
    """Three convolutions, from x to y, and attention without parameters: `(y + x) (sigmoid(y) - 1/2)`. Maps
    `(N, C, H, W)` to the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.c1_r = Conv3XC(channels, channels)
        self.c2_r = Conv3XC(channels, channels)
        self.c3_r = Conv3XC(channels, channels)

    def forward(self, x: Tensor) -> Any:
        return self._attend(x)[0]

    def _attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = F.silu(self.c1_r(x))
        out = self.c3_r(F.silu(self.c2_r(inner)))
        return (out + x) * (torch.sigmoid(out) - 0.5), inner


class LastSPAB(SPAB):
    """A block that also returns the features after its first convolution."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._attend(x)


class Conv3XC(nn.Module):
    """A 3x3 convolution in training form: 1x1 to twice the width, 3x3, 1x1 back, in parallel with a 1x1.

    There is no activation between them, so every pass, in training too, merges them into one 3x3 kernel: the
    same function of the same weights for a fraction of the arithmetic. The state dict holds the merged kernel
    as `eval_conv`, where spandrel looks for it; it is not read back.

    A plain convolution's `weight` and `bias` load too, split into parts that merge into it: the file of a
    merged network is a fifth of the size and can still be trained.
    """

    def __init__(self, width_in: int, width_out: int, gain: int = 2):
        super().__init__()
        self.sk = nn.Conv2d(width_in, width_out, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(width_in, width_in * gain, 1),
            nn.Conv2d(width_in * gain, width_out * gain, 3),
            nn.Conv2d(width_out * gain, width_out, 1),
        )
        self.register_state_dict_post_hook(_add_merged)
        self.register_load_state_dict_pre_hook(_take_merged)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self._merge(), padding=1)

    def merged(self) -> nn.Conv2d:
        """The plain convolution that computes the same."""
        weight, bias = self._merge()
        conv = nn.Conv2d(
            weight.shape[1], weight.shape[0], 3, padding=1, device=weight.device, dtype=weight.dtype
        )
        conv.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
        return conv

    def _merge(self) -> tuple[Tensor, Tensor]:
        (w1, b1), (w2, b2), (w3, b3), (skip, b) = map(_parts, (*self.conv, self.sk))
        narrow, wide = w3[..., 0, 0], w1[..., 0, 0]
        weight = torch.einsum("om,mkhw,ki->oihw", narrow, w2, wide) + F.pad(skip, [1, 1, 1, 1])
        return weight, narrow @ (w2.sum((2, 3)) @ b1 + b2) + b3 + b


def _parts(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


def _add_merged(module: Any, state: Any, prefix: str, _metadata: Any) -> None:
    for name, value in zip(("weight", "bias"), module._merge(), strict=True):
        state[f"{prefix}eval_conv.{name}"] = value.detach()


def _take_merged(module: Any, state: Any, prefix: str, *_: Any) -> None:
    for name in ("weight", "bias"):
        state.pop(f"{prefix}eval_conv.{name}", None)
    weight, bias = state.get(f"{prefix}weight"), state.get(f"{prefix}bias")
    shape = (module.conv[2].out_channels, module.conv[0].in_channels, 3, 3)
    # Where the shapes differ the keys stay, and torch reports them.
    if weight is not None and bias is not None and (weight.shape, bias.shape) == (shape, shape[:1]):
        del state[f"{prefix}weight"], state[f"{prefix}bias"]
        state.update({f"{prefix}{key}": value for key, value in _split(weight, bias, module).items()})


def _split(weight: Tensor, bias: Tensor, module: Any) -> dict[str, Tensor]:
    """A `Conv3XC`'s parts that merge into a given kernel: fixed random orthonormal 1x1 kernels, and between
    them the kernel in their bases. With zeros instead, half of the channels could not be trained."""
    generator = torch.Generator().manual_seed(0)

    def draw(layer: Any) -> Tensor:
        tall = (max(layer.weight.shape[:2]), min(layer.weight.shape[:2]))
        return torch.linalg.qr(torch.randn(tall, generator=generator, dtype=torch.float64)).Q

    wide, narrow = draw(module.conv[0]), draw(module.conv[2]).T
    parts = {key: torch.zeros_like(value) for key, value in module.named_parameters()}
    parts["conv.0.weight"] = wide[..., None, None]
    parts["conv.1.weight"] = torch.einsum("om,oihw,ki->mkhw", narrow, weight.double().cpu(), wide)
    parts["conv.2.weight"] = narrow[..., None, None]
    parts["conv.2.bias"] = bias
    return {key: value.detach().float() for key, value in parts.items()}
