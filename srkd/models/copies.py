"""Networks beside the one that is trained: copies of it, and frozen ones that look at its images."""

import contextlib
import copy
from collections.abc import Iterator
from typing import TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


def copy_without_hooks(network: M) -> M:
    """A copy that answers to nobody: what hooks into the network does not see the copy's passes."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        module._forward_hooks.clear()
    return copied


def use_batch_statistics(network: nn.Module) -> None:
    """Makes batch norms, and them alone, normalise by each batch's own statistics, as in training, and leave
    their running ones as they are.

    A discriminator's running statistics mix photographs and generated images, neither of which they
    describe: it tells them apart by the batch's own.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.track_running_stats = False


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Passes inside leave the running statistics of batch norms as they are, and compute what they would
    have computed."""
    norms = [
        m for m in network.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
