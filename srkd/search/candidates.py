"""The networks that a student may be: every architecture that declares `variants`, in every size of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from srkd.errors import UsageError
from srkd.models import GENERATORS, create_generator
from srkd.models.base import Generator
from srkd.models.fusing import merge
from srkd.models.resizing import can_resize

# Costs are counted on LR images of this side; all these networks cost the same for every pixel.
_SIDE = 32
# Bytes of an exported file beside its weights: names, shapes and facts, for each layer and for the file.
_FILE_BYTES, _LAYER_BYTES = 4_000, 900
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Candidate:
    """A network of a size, without weights.

    Args:
        architecture: a key of srkd.models.GENERATORS.
        options: its arguments.
        varied: those of them that differ between candidates, as text.
        parameters: how many, re-parameterised blocks merged.
        layers: convolutions, one after another or not.
        macs: multiply-accumulates for an LR pixel.
        traffic: numbers that its layers write, for an LR pixel.
    """

    architecture: str
    options: Mapping[str, Any] = field(hash=False)
    varied: str
    parameters: int
    layers: int
    macs: float
    traffic: float

    @property
    def name(self) -> str:
        """The architecture with its size: `compact 24x6`."""
        return f"{self.architecture} {self.varied}".strip()

    def file_bytes(self, precision: str = "fp32") -> float:
        """The size of its exported file, before it is written: within a few kB; int8 may take twice."""
        return self.parameters * BYTES[precision] + self.layers * _LAYER_BYTES + _FILE_BYTES

    def create(self, scale: int) -> Generator:
        """The network, with fresh weights."""
        return create_generator(self.architecture, scale, **self.options)


def list_candidates(scale: int, architectures: list[str] | None = None) -> list[Candidate]:
    """All candidates, the smallest first. Architectures that a program adds to srkd.models.GENERATORS take
    part when their class declares `variants`.

    Args:
        scale: the super-resolution factor.
        architectures: those to take; all when None.

    Raises:
        UsageError: an architecture that is not there or declares no variants.
    """
    known = {name: _variants(name) for name, (_, options) in GENERATORS.items() if not options}
    known = {name: variants for name, variants in known.items() if variants}
    for name in architectures or []:
        if name not in known:
            raise UsageError(f"unknown architecture '{name}'; students can be {', '.join(known)}")
    found = []
    for name, variants in known.items():
        if not architectures or name in architectures:
            for values in product(*variants.values()):
                found.append(measure_candidate(name, dict(zip(variants, values, strict=True)), scale))
    return sorted(found, key=lambda one: (one.macs, one.parameters))


def _variants(architecture: str) -> Mapping[str, Any]:
    """What an architecture's class says may vary."""
    return getattr(GENERATORS[architecture][0], "variants", {})


def measure_candidate(architecture: str, options: Mapping[str, Any], scale: int) -> Candidate:
    """A network of a size with its costs, counted without computing anything."""
    variants = _variants(architecture)
    with torch.device("meta"):
        network = merge(create_generator(architecture, scale, **options))
    image = torch.empty(1, 3, _SIDE, _SIDE, device="meta")
    with _Counter() as counter, torch.no_grad():
        network(image)
    sizes = [options[key] for key, values in variants.items() if len(values) > 1 and key in options]
    return Candidate(
        architecture,
        dict(options),
        "x".join(map(str, sizes)),
        sum(parameter.numel() for parameter in network.parameters()),
        sum(isinstance(module, torch.nn.Conv2d) for module in network.modules()),
        counter.flops / 2 / _SIDE**2,
        counter.numbers / _SIDE**2,
    )


def has_start(one: Candidate, scale: int, trained: Sequence[Generator]) -> bool:
    """Whether a candidate can start from the weights of one of the trained networks."""
    with torch.device("meta"):
        network = one.create(scale)
    return any(can_resize(source, network) for source in trained)


class _Counter(TorchDispatchMode):
    """Counts floating-point operations, and the numbers in the results of everything computed under it."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.numbers += sum(x.numel() for x in tree_leaves(result) if isinstance(x, torch.Tensor))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result
