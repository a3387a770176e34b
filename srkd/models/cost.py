"""What a network costs."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """The number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, scale: int, height: int = 720, width: int = 1280) -> int:
    """Multiply-accumulates of the convolutions for one output image, counted without computing them.

    Args:
        model: a generator; it is moved to the meta device and must not be used afterwards.
        scale: its factor.
        height, width: size of the output.
    """
    model = model.to("meta").eval()
    # Rounded up where the scale does not divide the size, as 1280/3.
    image = torch.empty(1, 3, -(-height // scale), -(-width // scale), device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return counter.get_total_flops() // 2
