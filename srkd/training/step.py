"""One training step, for a cohort of any size: teacher, critics, generators, averages."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.losses.base import View
from srkd.losses.functional import ADVERSARIES, bernoulli_kl
from srkd.training.state import CriticPlayer, Member, State

Terms = dict[tuple[int, str], Tensor]


def train_step(state: State, lr: Tensor, hr: Tensor, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Updates every critic once, then every generator.

    Args:
        state: the stage's players.
        lr, hr: a batch, `(N, 3, h, w)` and `(N, 3, scale*h, scale*w)` in [0, 1].
        weights: the factor of each term at this step, by its name.

    Returns:
        The value of each term, not weighted, by name; of a cohort with the member's number before it.
    """
    views = look(state, lr, hr)
    critic_values = critic_terms(state, [detached(view) for view in views])
    descend(state, critic_values, weights, [critic.optimizer for critic in state.critics])
    generator_values: Terms = {}
    with state.frozen_critics():
        for index, (member, view) in enumerate(zip(state.members, views, strict=True)):
            values = generator_terms(member, view)
            generator_values |= {(index, name): value for name, value in values.items()}
        descend(state, generator_values, weights, [member.optimizer for member in state.members])
    for member in state.members:
        member.average.update_parameters(member.network)
    values = {**critic_values, **generator_values}
    return {f"{k}/{name}" if len(views) > 1 else name: v.detach() for (k, name), v in values.items()}


def look(state: State, lr: Tensor, hr: Tensor) -> list[View]:
    """Runs the teacher and every generator: a view of the batch for each member."""
    target = state.teacher(lr) if state.teacher is not None else None
    return [View(lr, hr, member.generator(lr), target) for member in state.members]


def detached(view: View) -> View:
    return View(view.lr, view.hr, view.sr.detach(), view.target)


def descend(state: State, terms: Terms, weights: Mapping[str, float], optimizers: list) -> None:
    """One optimiser step down the weighted sum of the terms. Players share no weights, so one backward
    pass serves them all."""
    if not terms:
        return
    total = torch.stack([weights[name] * value for (_, name), value in terms.items()]).sum()
    state.fabric.backward(total)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def generator_terms(member: Member, view: View) -> dict[str, Tensor]:
    """A generator's losses by name, and an adversarial one for each kind of critic."""
    terms = {name: loss(view) for name, loss in member.losses.items()}
    for name, copies in member.critics.items():
        values = []
        for critic in copies:
            real = (
                critic.module(real_images(critic, view)).detach()
                if critic.spec.gan == "relativistic"
                else None
            )
            fake = critic.module(view.sr)
            values.append(ADVERSARIES[critic.spec.gan].generator(fake if real is None else real, fake))
        terms[f"adversarial_{name}"] = torch.stack(values).mean()
    return terms


def critic_terms(state: State, views: list[View]) -> Terms:
    """The critics' losses: adversarial, imitation of the teacher's critic, mutual distillation.

    Real and fake images pass separately, since batch normalisation must not mix them. With mutual
    distillation every critic sees the whole cohort's pool, HR and each member's SR.
    """
    terms: Terms = {}
    pools: dict[tuple[int, str, int], list[Tensor]] = {}
    for index, (member, view) in enumerate(zip(state.members, views, strict=True)):
        for name, copies in member.critics.items():
            adversarial, imitation = [], []
            for number, critic in enumerate(copies):
                images = [real_images(critic, view), view.sr]
                logits = [critic.module(image) for image in images]
                adversarial.append(ADVERSARIES[critic.spec.gan].critic(*logits))
                if critic.imitated is not None:
                    with torch.no_grad():
                        wanted = [critic.imitated(image) for image in images]
                    imitation.append(sum(map(F.mse_loss, logits, wanted)))
                if state.stage.mutual is not None:
                    others = [critic.module(v.sr) for k, v in enumerate(views) if k != index]
                    # Every critic's logits on the pool, in the pool's order: HR, SR of member 0, 1, ...
                    pool = [logits[0], *others[:index], logits[1], *others[index:]]
                    pools[index, name, number] = pool
            terms[index, f"critic_{name}"] = torch.stack(adversarial).sum()
            if imitation:
                terms[index, f"imitation_{name}"] = torch.stack(imitation).sum()
    return terms | mutual_terms(state, pools)


def mutual_terms(state: State, pools: Mapping[tuple[int, str, int], list[Tensor]]) -> Terms:
    """tau^2 times the mean over peers of KL(peer || own) on the pool (Lee & Park 2022), for each member the
    sum over its critics; and, under no gradient, how far the cohort's opinions lie apart."""
    if state.stage.mutual is None:
        return {}
    tau = state.stage.mutual.temperature
    terms: Terms = {}
    for own, logits in pools.items():
        peers = [other for key, other in pools.items() if key != own]
        divergences = [bernoulli_kl(p, z, tau) for peer in peers for p, z in zip(peer, logits, strict=True)]
        value = tau**2 * torch.stack(divergences).mean()
        gap = [
            (z.sigmoid() - p.sigmoid()).abs().mean()
            for peer in peers
            for p, z in zip(peer, logits, strict=True)
        ]
        for name, term in (("mutual", value), ("disagreement", torch.stack(gap).mean().detach())):
            terms[own[0], name] = terms.get((own[0], name), torch.zeros_like(term)) + term
    return terms


def real_images(critic: CriticPlayer, view: View) -> Tensor:
    """What a critic takes for real: HR, or the teacher's SR."""
    if critic.spec.real == "hr":
        return view.hr
    assert view.target is not None
    return view.target
