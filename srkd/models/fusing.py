"""Networks as they are run and exported: training's extra layers folded into the convolutions beside them."""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval


def fuse(model: nn.Module) -> nn.Module:
    """A copy in eval mode that computes the same with fewer layers: merged, and with each batch norm behind a
    convolution folded into it."""
    fused = merge(model)
    for module in fused.modules():
        if isinstance(module, nn.Sequential):
            for (name, layer), (behind, norm) in pairwise(list(module.named_children())):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(layer, norm))
                    setattr(module, behind, nn.Identity())
    return fused


def merge(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose re-parameterised blocks, those with a method `merged`, have become the
    convolutions that they amount to."""
    copied = copy.deepcopy(model).eval()
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if hasattr(child, "merged"):
                setattr(module, name, child.merged())  # type: ignore[operator]
    return copied.requires_grad_(False)
