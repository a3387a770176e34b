"""One training step, for a cohort of any size: teacher, critics, generators, averages."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.losses.base import View
from srkd.losses.functional import ADVERSARIES, bernoulli_kl
from srkd.training.state import CriticPlayer, Member, State

Terms = dict[tuple[int, str], Tensor]


def generator_terms(member: Member, view: View) -> dict[str, Tensor]:
    """A generator's losses by name, and an adversarial one for each kind of critic."""
    terms = {name: loss(view) for name, loss in member.losses.items()}
    for name, copies in member.critics.items():
        values = []
        for critic in copies:
            fake = critic.judge(view.sr).float()
            real = fake
            if critic.spec.gan == "relativistic":
                with torch.no_grad():
                    real = critic.judge(real_images(critic, view)).float()
            values.append(ADVERSARIES[critic.spec.gan].generator(real, fake))
        terms[f"adversarial_{name}"] = torch.stack(values).mean()
    return terms


def critic_terms(state: State, views: list[View], weights: Mapping[str, float] | None = None) -> Terms:
    """The critics' losses: adversarial, imitation of the teacher's critic, R1, mutual distillation.

    Real and fake images pass separately, since batch normalisation must not mix them. With mutual
    distillation every critic sees the whole cohort's pool, HR and each member's SR. The penalty R1 is left
    out where its weight is 0.
    """
    terms: Terms = {}
    pools: dict[tuple[int, str, int], list[Tensor]] = {}
    for index, (member, view) in enumerate(zip(state.members, views, strict=True)):
        for name, copies in member.critics.items():
            adversarial, imitation, penalty = [], [], []
            for number, critic in enumerate(copies):
                images = [real_images(critic, view), view.sr]
                logits = [critic.module(image) for image in images]
                adversarial.append(ADVERSARIES[critic.spec.gan].critic(*logits))
                if critic.imitated is not None:
                    with torch.no_grad():
                        wanted = [critic.imitated(image) for image in images]
                    imitation.append(sum(map(F.mse_loss, logits, wanted)))
                if critic.spec.r1 and (weights is None or weights[f"r1_{name}"]):
                    penalty.append(_r1(critic, images[0]))
                if state.stage.mutual is not None:
                    others = [critic.module(v.sr) for k, v in enumerate(views) if k != index]
                    # Every critic's logits on the pool, in the pool's order: HR, SR of member 0, 1, ...
                    pool = [logits[0], *others[:index], logits[1], *others[index:]]
                    pools[index, name, number] = pool
            for kind, found in (("critic", adversarial), ("imitation", imitation), ("r1", penalty)):
                if found:
                    terms[index, f"{kind}_{name}"] = torch.stack(found).sum()
    return terms | mutual_terms(state, pools)


def _r1(critic: CriticPlayer, real: Tensor) -> Tensor:
    """Half the mean squared length of d logit / d image at real images (Mescheder et al. 2018, eq. 9)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic.network(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


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
    return view.hr if critic.spec.real == "hr" else view.target
