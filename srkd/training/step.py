"""One training step, for a cohort of any size: teacher, critics, generators, averages."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from srkd.losses.base import View
from srkd.training.state import State
from srkd.training.terms import Terms, critic_terms, generator_terms

Part = tuple[Tensor, Tensor, tuple[Tensor, ...]]  # LR, HR, and the teachers' images where they are stored


class NotFinite(Exception):
    """A loss or a gradient is infinite or not a number; no weight was changed by it. The message names it."""


def train_step(state: State, parts: Sequence[Part], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Updates every critic once, then every generator.

    Args:
        state: the stage's players.
        parts: a batch of LR, HR and stored teachers' images (empty: the teachers run), `(N, 3, h, w)` and
            twice `(N, 3, scale*h, scale*w)` in [0, 1], whole or in parts of one size that are worked through
            one after another.
        weights: the factor of each term at this step, by its name.

    Returns:
        The value of each term, not weighted, by name; of a cohort with the member's number before it.

    Raises:
        NotFinite: a loss or gradient was not finite.
    """
    values: Terms = {}
    # A batch in one part is looked at once; of parts, only one's graph is in memory at a time.
    whole = look(state, *parts[0]) if len(parts) == 1 else None
    if state.critics:
        for part in _parts(state, parts):
            views = [detached(view) for view in whole or _look_once(state, part)]
            _descend(state, critic_terms(state, views, weights), weights, values, len(parts))
        _advance(state, "critics", values)
    with state.frozen_critics():
        for part in _parts(state, parts):
            terms = {}
            with state.fabric.autocast():
                for index, (member, view) in enumerate(
                    zip(state.members, whole or look(state, *part), strict=True)
                ):
                    terms |= {(index, name): v for name, v in generator_terms(member, view).items()}
            _descend(state, terms, weights, values, len(parts))
        _advance(state, "generators", values)
    for member in state.members:
        member.average.update_parameters(member.network)
    return {f"{k}/{name}" if len(state.members) > 1 else name: v for (k, name), v in values.items()}


def look(state: State, lr: Tensor, hr: Tensor, targets: tuple[Tensor, ...] = ()) -> list[View]:
    """Runs the teachers, unless their images are given, and every generator: a view of the batch for each
    member."""
    if not targets and state.teachers:
        with state.fabric.autocast():
            targets = tuple(teacher(lr).float() for teacher in state.teachers)
    return [View(lr, hr, member.generator(lr), targets) for member in state.members]


@torch.no_grad()
def _look_once(state: State, part: Part) -> list[View]:
    return look(state, *part)


def detached(view: View) -> View:
    return view._replace(sr=view.sr.detach())


def _parts(state: State, parts: Sequence[Part]) -> Iterator[Part]:
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


def _descend(state: State, terms: Terms, weights: Mapping[str, float], values: Terms, parts: int) -> None:
    """Adds the gradient of the weighted sum of a part's terms, and their values to `values`. Players share no
    weights, so one backward pass serves all generators, or all critics."""
    total = torch.stack([weights[name] * value for (_, name), value in terms.items()]).sum() / parts
    for key, value in terms.items():
        values[key] = values.get(key, 0) + value.detach() / parts
    state.fabric.backward(total)


def _advance(state: State, player: str, values: Terms) -> None:
    """One optimiser step, if all losses and gradients are finite."""
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
    losses = torch.stack(list(values.values())).isfinite()
    finite = bool(losses.all()) and (scaled or norm is None or bool(norm.isfinite()))
    if not state.fabric.strategy.reduce_boolean_decision(finite):
        bad = [name for (_, name), value in values.items() if not bool(value.isfinite())]
        raise NotFinite(f"the loss '{bad[0]}'" if bad else f"the gradient of the {player}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
