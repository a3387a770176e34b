"""A network of another size that starts from a trained one of its architecture: channels chosen, or added.

Fewer channels: those with the greatest gain in what follows are kept (structured pruning; Li et al. 2017,
arXiv 1608.08710, rank filters by their own norms alone). More channels: the new ones feed what follows with
weight 0 at first, so that the network computes what the trained one does (Net2WiderNet's aim, Chen et al.
2016, arXiv 1511.05641). Fewer residual blocks: evenly spaced ones are kept."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from srkd.models.base import Generator, Wire
from srkd.models.fusing import merge

Weights = dict[str, Tensor]


def can_resize(source: Generator, target: Generator) -> bool:
    """Whether the target can start from the source: one architecture that says how it is wired, and no more
    blocks than the source has."""
    ours, theirs = target.wiring(), source.wiring()
    if not ours or not theirs or type(source) is not type(target):
        return False
    if not target.residual:
        return len(ours) == len(theirs)
    return _count_blocks(ours) <= _count_blocks(theirs)


def resize(source: Generator, target: Generator) -> None:
    """Gives the target, in place, the weights of a larger or smaller trained network of its architecture.
    What the source lacks, such as the tail for another scale, keeps its fresh weights.

    Args:
        source: trained; not changed.
        target: as `can_resize` allows.
    """
    big, small = merge(source).state_dict(), merge(target).state_dict()
    pairs = _pair(source, target)
    widths = _widths([theirs for _, theirs in pairs], big)
    chosen = _choose([theirs for _, theirs in pairs], big, widths, _wanted(pairs, small))
    for ours, theirs in pairs:
        for part in ("weight", "bias"):
            key, other = f"{ours.key}.{part}", f"{theirs.key}.{part}"
            if key in small and other in big:
                small[key] = _take(big[other], small[key], theirs, chosen, widths)
    target.load_state_dict(small)


def _pair(source: Generator, target: Generator) -> list[tuple[Wire, Wire]]:
    """The target's layers with those of the source that they come from."""
    ours, theirs = target.wiring(), {(wire.form, wire.block): wire for wire in source.wiring()}
    wanted, there = _count_blocks(ours), _count_blocks(list(theirs.values()))
    fresh = tails_differ(source, target)
    pairs = []
    for wire in ours:
        block = wire.block
        if block is not None and wanted > 1:
            block = round(block * (there - 1) / (wanted - 1))
        other = theirs.get((wire.form, block))
        tail = not wire.out or bool(target.tail_name and wire.form.startswith(target.tail_name))
        if other is not None and not (fresh and tail):
            pairs.append((wire, other))
    return pairs


def tails_differ(source: Generator, target: Generator) -> bool:
    """Whether the target's tail keeps fresh weights: it is for another scale, or of another kind."""
    one, other = source.config or {}, target.config or {}
    return source.scale != target.scale or any(one.get(key) != other.get(key) for key in ("tail", "skip"))


def _count_blocks(wires: Sequence[Wire]) -> int:
    return len({wire.block for wire in wires if wire.block is not None})


def _widths(wires: Sequence[Wire], weights: Weights) -> dict[str, int]:
    """The number of channels of each group."""
    return {
        wire.out: len(weights[f"{wire.key}.weight"]) // wire.fan
        for wire in wires
        if wire.out and f"{wire.key}.weight" in weights
    }


def _wanted(pairs: Sequence[tuple[Wire, Wire]], weights: Weights) -> dict[str, int]:
    """How many channels the target has in place of each of the source's groups."""
    return {
        theirs.out: len(weights[f"{ours.key}.weight"]) // ours.fan for ours, theirs in pairs if theirs.out
    }


def _choose(
    wires: Sequence[Wire], weights: Weights, widths: Mapping[str, int], wanted: Mapping[str, int]
) -> dict[str, Tensor]:
    """Of each group the channels to keep, in their order; more than there are where more are wanted, which
    stand for new ones."""
    made: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    used: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    for wire in wires:
        weight = weights[f"{wire.key}.weight"].double()
        if wire.out and weight.ndim > 1:
            made[wire.out] = made[wire.out] + weight.square().flatten(1).sum(1).view(-1, wire.fan).sum(1)
        first = 0
        for group in wire.ins:
            part = weight[:, first : first + widths[group]]
            first += widths[group]
            used[group] = used[group] + part.square().transpose(0, 1).flatten(1).sum(1)
    chosen = {}
    for group, count in wanted.items():
        there = widths[group]
        if count >= there:
            chosen[group] = torch.arange(count)
            continue
        # Both are squares: what a channel adds to what follows, if its inputs are alike.
        gain = made[group] * used[group] if used[group].ndim else made[group]
        chosen[group] = gain.topk(count).indices.sort().values
    return chosen


def _take(
    source: Tensor, own: Tensor, wire: Wire, chosen: Mapping[str, Tensor], widths: Mapping[str, int]
) -> Tensor:
    """A layer's weights from the source's: rows and columns of the chosen channels. New rows keep their fresh
    weights, new columns are 0 in rows that are not new."""
    result = own.clone()
    rows, places = _spread(chosen.get(wire.out), len(own), len(source), wire.fan)
    if source.ndim == 1 or not wire.ins:
        result[places] = source[rows]
        return result
    offset = first = 0
    for group in wire.ins:
        keep = chosen[group]
        known = keep[keep < widths[group]]
        result[places, first : first + len(keep)] = 0
        result[places[:, None], torch.arange(first, first + len(known))] = source[rows][:, offset + known]
        offset, first = offset + widths[group], first + len(keep)
    return result


def _spread(keep: Tensor | None, wanted: int, there: int, fan: int) -> tuple[Tensor, Tensor]:
    """The source's rows to take, and the places that they go to. Without a group, all."""
    if keep is None:
        rows = torch.arange(min(wanted, there))
        return rows, rows
    places = torch.arange(len(keep))[keep * fan < there]
    kept = keep[places]
    spread = torch.arange(fan)
    return (kept[:, None] * fan + spread).flatten(), (places[:, None] * fan + spread).flatten()
