"""Networks as they are run and exported: training's extra layers folded into the convolutions beside them."""

from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from srkd.models.copies import copy_without_hooks

M = TypeVar("M", bound=nn.Module)


@runtime_checkable
class Mergeable(Protocol):
    """A re-parameterised block."""

    def merged(self) -> nn.Module:
        """The plain layer that computes the same."""
        ...


def fuse(model: M) -> M:
    """A copy in eval mode that computes the same with fewer layers: merged, and with each batch norm folded
    into the convolution before it."""
    fused = merge(model)
    for module in fused.modules():
        if isinstance(module, nn.Sequential):
            for (name, layer), (behind, norm) in pairwise(list(module.named_children())):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(layer, norm))
                    setattr(module, behind, nn.Identity())
    return fused


def merge(model: M) -> M:
    """A copy in eval mode, without gradients, whose re-parameterised blocks are replaced by the plain layers
    that compute the same."""
    copied = copy_without_hooks(model).eval()
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, Mergeable):
                setattr(module, name, child.merged())
    return copied.requires_grad_(False)
