"""Exact rewrites of layers that phones' GPUs do not run, or not well."""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class SplitPReLU(nn.Module):
    """PReLU as `relu(x) - a relu(-x)`: the same to the last bit, since one of the two terms is zero.

    Shape:
        `(N, C, H, W)` to the same.
    """

    slope: Tensor

    def __init__(self, layer: nn.PReLU):
        super().__init__()
        self.register_buffer("slope", layer.weight.detach().clone().reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) - self.slope * torch.relu(-x)


class TransposedShuffle(nn.Module):
    """Pixel-shuffle as a transposed convolution whose kernels hold a one and zeros: the same to the last bit.
    Converters make six-dimensional transposes of pixel-shuffle, which LiteRT's GPU delegate does not take.

    Shape:
        `(N, scale**2 * C, H, W)` to `(N, C, scale*H, scale*W)`.

    Args:
        scale: the factor.
        channels: those that it returns.
    """

    weight: Tensor

    def __init__(self, scale: int, channels: int):
        super().__init__()
        self.scale = scale
        one = torch.eye(scale**2).reshape(scale**2, 1, scale, scale)
        weight = torch.zeros(channels, scale**2, channels, scale, scale)
        for channel in range(channels):
            weight[channel, :, channel : channel + 1] = one
        self.register_buffer("weight", weight.reshape(-1, channels, scale, scale))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, stride=self.scale)


def rewrite_for_gpu(model: M, example: Tensor) -> M:
    """A copy in which each PReLU and pixel-shuffle is one of the above.

    Args:
        model: a fused network, in eval mode.
        example: an input that it takes; how many channels each pixel-shuffle gets shows when it runs.
    """
    model = copy.deepcopy(model)
    widths: dict[nn.Module, int] = {}
    shuffles = [module for module in model.modules() if isinstance(module, nn.PixelShuffle)]
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: widths.update({module: inputs[0].shape[1]}))
        for module in shuffles
    ]
    with torch.inference_mode():
        model(example)
    for hook in hooks:
        hook.remove()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.PReLU):
                setattr(module, name, SplitPReLU(child))
            elif isinstance(child, nn.PixelShuffle) and child in widths:
                scale = child.upscale_factor
                setattr(module, name, TransposedShuffle(scale, widths[child] // scale**2))
    return model
