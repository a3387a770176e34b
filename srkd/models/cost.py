"""What a network costs: parameters, multiply-accumulates, memory."""

import copy
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from srkd.models.fusing import merge


def count_parameters(model: nn.Module) -> int:
    """The number of parameters, with re-parameterised blocks merged."""
    return sum(parameter.numel() for parameter in merge(model).parameters())


def count_macs(model: nn.Module, scale: int, height: int = 720, width: int = 1280) -> int:
    """Multiply-accumulates of the convolutions for one output image, with re-parameterised blocks merged.
    Nothing is computed.

    Args:
        model: a generator.
        scale: its factor.
        height, width: size of the output in pixels.
    """
    # Rounded up where the scale does not divide the size, as 1280/3.
    image = torch.empty(1, 3, -(-height // scale), -(-width // scale), device="meta")
    # Merged outside, which takes some arithmetic of its own.
    network = merge(model).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() // 2


def count_memory(model: nn.Module) -> float:
    """Peak bytes of float32 activations per LR pixel in a forward pass, input and output included. Nothing is
    computed."""
    side = 64
    image = torch.empty(1, 3, side, side, device="meta")
    network = copy.deepcopy(model).eval().to("meta")
    given = [image, *network.parameters(), *network.buffers()]
    with _LiveBytes(given) as live, torch.no_grad():
        network(image)
    return (live.most + image.nbytes) / side**2


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages of tensors created under it, while they live; not those of the given tensors, of
    which a network may create views."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.users = {tensor.untyped_storage()._cdata: 1 for tensor in given}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._hold(tensor)
        return result

    def _hold(self, tensor: Tensor) -> None:
        key = tensor.untyped_storage()._cdata
        if self.users.get(key, 0) == 0:
            self.sizes[key] = tensor.untyped_storage().nbytes()
            self.now += self.sizes[key]
            self.most = max(self.most, self.now)
        self.users[key] = self.users.get(key, 0) + 1
        weakref.finalize(tensor, self._release, key)

    def _release(self, key: int) -> None:
        self.users[key] -= 1
        if self.users[key] == 0:
            self.now -= self.sizes[key]
