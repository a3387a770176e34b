"""The check before step 0: every loss must move the player it claims to."""

import torch
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.training.state import State
from srkd.training.step import detached, forward_all
from srkd.training.terms import Term, critic_terms, generator_terms


def check_gradients(state: State, lr: Tensor, hr: Tensor, targets: tuple[Tensor, ...] = ()) -> None:
    """Checks that each term alone, unweighted, gives its player a finite, non-zero gradient.

    Schedules and warm-ups play no part, since terms are taken before their weights. The generators are
    perturbed a little first: a term that holds a student to its own start is zero there by construction.
    Check a state that is not trained on.

    Raises:
        UsageError: naming the first term that does not.
    """
    for member in state.members:
        _perturb(member.network)
    views = forward_all(state, lr, hr, targets)
    for term in generator_terms(state, views, 0):
        _check(term, state.members[term.member].network, "generator")
    for term in critic_terms(state, [detached(view) for view in views], 0):
        if term.kind == "disagreement":
            continue
        for name, copies in state.members[term.member].critics.items():
            for critic in copies:
                learns = term.kind != "imitation" or critic.imitated is not None
                if term.critic in (None, name) and learns:
                    _check(term, critic.network, "discriminator")


@torch.no_grad()
def _perturb(network: nn.Module) -> None:
    for parameter in network.parameters():
        parameter.mul_(1 + 0.01 * torch.randn_like(parameter))


def _check(term: Term, network: nn.Module, kind: str) -> None:
    where = f"the loss '{term.name}' gives {kind} {term.member}"
    if not term.value.requires_grad:
        raise UsageError(f"{where} no gradient at all; remove it or fix its options")
    parameters = [p for p in network.parameters() if p.requires_grad]
    found = torch.autograd.grad(term.value, parameters, retain_graph=True, allow_unused=True)
    gradients = [gradient for gradient in found if gradient is not None]
    if not all(bool(torch.isfinite(g).all()) for g in gradients):
        raise UsageError(f"{where} a gradient that is not finite; lower its scale or fix the data")
    if not any(bool(g.any()) for g in gradients):
        raise UsageError(f"{where} a zero gradient, so it would teach nothing; remove it or fix its options")
