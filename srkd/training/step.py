"""One training step, for a cohort of any size: teachers, critics, generators, averages."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from srkd.losses.base import View
from srkd.training.state import State
from srkd.training.terms import Term, critic_terms, generator_terms

Part = tuple[Tensor, Tensor, tuple[Tensor, ...]]  # LR, HR, and the teachers' images where they are stored


class NotFinite(Exception):
    """A loss or a gradient is infinite or not a number; no weight was changed by it. The message names it."""


def train_step(state: State, parts: Sequence[Part], step: int) -> list[Term]:
    """Updates every critic once, then every generator.

    Args:
        state: the stage's players.
        parts: a batch of LR, HR and stored teachers' images (empty: the teachers run), `(N, 3, h, w)` and
            twice `(N, 3, scale*h, scale*w)` in [0, 1], whole or in parts of one size that are worked through
            one after another.
        step: its number in the stage, which decides the terms' weights.

    Returns:
        The terms, the critics' first, their values without gradient and averaged over parts.

    Raises:
        NotFinite: a loss or gradient was not finite.
    """
    found: dict[str, Term] = {}
    # A whole batch is passed forward once; of parts, only one's graph is in memory at a time.
    whole = forward_all(state, *parts[0]) if len(parts) == 1 else None
    if state.critics:
        for part in _each(state, parts):
            views = [detached(view) for view in whole or _forward_without_gradient(state, part)]
            _backward(state, critic_terms(state, views, step), found, len(parts))
        _update(state, "critics", found)
    with state.frozen_critics():
        for part in _each(state, parts):
            with state.fabric.autocast():
                terms = generator_terms(state, whole or forward_all(state, *part), step)
            _backward(state, terms, found, len(parts))
        _update(state, "generators", found)
    for member in state.members:
        member.average.update_parameters(member.network)
    return list(found.values())


def forward_all(state: State, lr: Tensor, hr: Tensor, targets: tuple[Tensor, ...] = ()) -> list[View]:
    """Runs the teachers, unless their images are given, and every generator: a view of the batch for each
    member."""
    if not targets and state.teachers:
        with state.fabric.autocast():
            targets = tuple(teacher(lr).float() for teacher in state.teachers)
    return [View(lr, hr, member.generator(lr), targets) for member in state.members]


def detached(view: View) -> View:
    return view._replace(sr=view.sr.detach())


@torch.no_grad()
def _forward_without_gradient(state: State, part: Part) -> list[View]:
    return forward_all(state, *part)


def _each(state: State, parts: Sequence[Part]) -> Iterator[Part]:
    """The parts of a batch; processes exchange gradients at the last."""
    for number, part in enumerate(parts, 1):
        with contextlib.ExitStack() as stack:
            if number < len(parts):
                modules = [member.generator for member in state.members]
                modules += [critic.module for critic in state.critics]
                for module in modules:
                    stack.enter_context(state.fabric.no_backward_sync(module))
                for loss in (loss for member in state.members for loss in member.losses.values()):
                    if isinstance(loss, DistributedDataParallel):
                        stack.enter_context(loss.no_sync())
            yield part


def _backward(state: State, terms: Sequence[Term], found: dict[str, Term], parts: int) -> None:
    """Adds the gradient of the weighted sum of a part's terms, and their values to `found`. Players share no
    weights, so one backward pass serves all generators, or all critics."""
    total = torch.stack([term.weight * term.value for term in terms]).sum() / parts
    for term in terms:
        value = term.value.detach() / parts
        if term.name in found:
            value = found[term.name].value + value
        found[term.name] = term._replace(value=value)
    state.fabric.backward(total)


def _update(state: State, player: Literal["generators", "critics"], found: dict[str, Term]) -> None:
    """One optimiser step, if all losses so far and the player's gradients are finite."""
    optimizer = state.optimizers[player]
    # With a loss scaler, infinite gradients are its own affair: it skips the step and scales less.
    scaled = bool(state.fabric.strategy.precision.state_dict())
    if state.clip is not None:
        network = state.members[0].generator
        norm = state.fabric.clip_gradients(network, optimizer, max_norm=state.clip, error_if_nonfinite=False)
    elif scaled:
        norm = None
    else:
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    losses = torch.stack([term.value for term in found.values()]).isfinite()
    finite = bool(losses.all()) and (scaled or norm is None or bool(norm.isfinite()))
    if not state.fabric.strategy.reduce_boolean_decision(finite):
        bad = [name for name, term in found.items() if not bool(term.value.isfinite())]
        raise NotFinite(f"the loss '{bad[0]}'" if bad else f"the gradient of the {player}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
