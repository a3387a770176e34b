"""The check before step 0: every loss must move the player it claims to."""

import torch
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.training.state import State
from srkd.training.step import detached, look
from srkd.training.terms import critic_terms, generator_terms


def check_gradients(state: State, lr: Tensor, hr: Tensor, targets: tuple[Tensor, ...] = ()) -> None:
    """Checks that each term alone, unweighted, gives its player a finite, non-zero gradient.

    Schedules and warm-ups play no part, since terms are taken before their weights. The generators are
    moved a little first: a term that holds a student to its own start is zero there by construction. Check
    a state that is not trained on.

    Raises:
        UsageError: naming the first term that does not.
    """
    for member in state.members:
        _stir(member.network)
    views = look(state, lr, hr, targets)
    for index, (member, view) in enumerate(zip(state.members, views, strict=True)):
        for name, value in generator_terms(member, view).items():
            _check(value, member.network, name, "generator", index)
    for (index, name), value in critic_terms(state, [detached(view) for view in views]).items():
        if name == "disagreement":
            continue
        kind, _, which = name.partition("_")
        critics = state.members[index].critics
        for critic in [
            c for key, copies in critics.items() for c in copies if kind == "mutual" or key == which
        ]:
            if kind != "imitation" or critic.imitated is not None:
                _check(value, critic.network, name, "discriminator", index)


@torch.no_grad()
def _stir(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.mul_(1 + 0.01 * torch.randn_like(parameter))


def _check(value: Tensor, player: nn.Module, name: str, kind: str, index: int) -> None:
    parameters = [p for p in player.parameters() if p.requires_grad]
    where = f"the loss '{name}' gives {kind} {index}"
    if not value.requires_grad:
        raise UsageError(f"{where} no gradient at all; remove it or mend its options")
    gradients = [
        g
        for g in torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        if g is not None
    ]
    if not all(bool(torch.isfinite(g).all()) for g in gradients):
        raise UsageError(f"{where} a gradient that is not finite; lower its scale or mend the data")
    if not any(bool(g.any()) for g in gradients):
        raise UsageError(f"{where} a zero gradient, so it would teach nothing; remove it or mend its options")
