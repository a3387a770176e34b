"""The terms of every player's loss, each with its weight at the step."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.losses.base import View
from srkd.losses.functional import ADVERSARIES, bernoulli_kl
from srkd.training.schedules import adversarial_weight, loss_weights, mutual_weight, r1_weight
from srkd.training.state import CriticPlayer, State

Pools = Mapping[tuple[int, str, int], list[Tensor]]  # (member, critic, copy) -> logits on the cohort's images


class Term(NamedTuple):
    """A term of a player's loss.

    Args:
        player: whom it trains.
        kind: a generator's loss by its name in LOSSES, or `adversarial`; of critics, `critic` (their own
            adversarial loss), `imitation`, `r1`, `mutual`, or `disagreement`, which is only logged.
        critic: the critic it belongs to; None for losses of images, and for what spans all critics.
        member: the generator's number in the cohort.
        value: the scalar, not weighted.
        weight: its factor at this step.
        cohort: whether there are other members, so that the name must say which.
    """

    player: Literal["generators", "critics"]
    kind: str
    critic: str | None
    member: int
    value: Tensor
    weight: float
    cohort: bool = False

    @property
    def name(self) -> str:
        """Its name in logs: `l1`, `adversarial_hr`; in a cohort `0/l1`, `1/critic_hr`."""
        name = self.kind if self.critic is None else f"{self.kind}_{self.critic}"
        return f"{self.member}/{name}" if self.cohort else name


def generator_terms(state: State, views: list[View], step: int) -> list[Term]:
    """The generators' terms: their losses, and an adversarial one for each kind of critic."""
    terms = []
    weights, cohort = loss_weights(state.stage, step), len(state.members) > 1
    for index, (member, view) in enumerate(zip(state.members, views, strict=True)):
        for name, loss in member.losses.items():
            terms.append(Term("generators", name, None, index, loss(view), weights[name], cohort))
        for name, copies in member.critics.items():
            value = torch.stack([_adversarial(critic, view) for critic in copies]).mean()
            weight = adversarial_weight(state.stage, copies[0].spec, step)
            terms.append(Term("generators", "adversarial", name, index, value, weight, cohort))
    return terms


def critic_terms(state: State, views: list[View], step: int) -> list[Term]:
    """The critics' terms: adversarial, imitation of the teacher's discriminator, R1, mutual distillation.

    Real and fake images pass separately, since batch normalisation must not mix them. With mutual
    distillation every critic sees the whole cohort's pool, HR and each member's SR. R1 is left out between
    its steps, where its weight is 0.
    """
    terms = []
    pools: dict[tuple[int, str, int], list[Tensor]] = {}
    cohort = len(state.members) > 1
    for index, (member, view) in enumerate(zip(state.members, views, strict=True)):
        for name, copies in member.critics.items():
            spec = copies[0].spec
            adversarial, imitation, penalty = [], [], []
            for number, critic in enumerate(copies):
                images = [real_images(critic, view), view.sr]
                logits = [critic.module(image) for image in images]
                adversarial.append(ADVERSARIES[spec.gan].critic(*logits))
                if critic.imitated is not None:
                    with torch.no_grad():
                        wanted = [critic.imitated(image) for image in images]
                    imitation.append(sum(map(imitation_loss, logits, wanted)))
                if spec.r1 and r1_weight(spec, step):
                    penalty.append(_r1(critic, images[0]))
                if state.stage.mutual is not None:
                    others = [critic.module(v.sr) for k, v in enumerate(views) if k != index]
                    # Every critic's logits on the pool, in the pool's order: HR, SR of member 0, 1, ...
                    pool = [logits[0], *others[:index], logits[1], *others[index:]]
                    pools[index, name, number] = pool
            for kind, found, weight in (
                ("critic", adversarial, 1.0),
                ("imitation", imitation, spec.imitate),
                ("r1", penalty, r1_weight(spec, step)),
            ):
                if found:
                    terms.append(Term("critics", kind, name, index, torch.stack(found).sum(), weight, cohort))
    return terms + mutual_terms(state, pools, step)


def mutual_terms(state: State, pools: Pools, step: int) -> list[Term]:
    """tau^2 times the mean over peers of KL(peer || own) on the pool (Lee & Park 2022), for each member the
    sum over its critics; and, without gradient, how far the cohort's probabilities sigmoid(z / tau) lie
    apart, for each member the mean over its critics."""
    mutual = state.stage.mutual
    if mutual is None:
        return []
    tau, weight = mutual.temperature, mutual_weight(state.stage, mutual, step)
    sums: dict[tuple[int, str], Tensor] = {}
    for own, logits in pools.items():
        peers = [other for key, other in pools.items() if key != own]
        pairs = [pair for peer in peers for pair in zip(peer, logits, strict=True)]
        divergence = tau**2 * torch.stack([bernoulli_kl(p, z, tau) for p, z in pairs]).mean()
        gaps = [((z / tau).sigmoid() - (p / tau).sigmoid()).abs().mean() for p, z in pairs]
        copies = sum(member == own[0] for member, *_ in pools)
        gap = torch.stack(gaps).mean().detach() / copies
        for kind, value in (("mutual", divergence), ("disagreement", gap)):
            sums[own[0], kind] = sums.get((own[0], kind), torch.zeros_like(value)) + value
    cohort = len(state.members) > 1
    return [
        Term("critics", kind, None, member, value, weight if kind == "mutual" else 0.0, cohort)
        for (member, kind), value in sums.items()
    ]


def imitation_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """MSE of a discriminator's logits and its teacher's, `(N, 1)` or maps of patches `(N, 1, h, w)`. Where
    the shapes differ, each image's mean counts."""
    if logits.shape != wanted.shape:
        logits, wanted = (each.flatten(1).mean(1) for each in (logits, wanted))
    return F.mse_loss(logits, wanted)


def real_images(critic: CriticPlayer, view: View) -> Tensor:
    """What a critic takes for real: HR, or the teacher's SR."""
    return view.hr if critic.spec.real == "hr" else view.target


def _adversarial(critic: CriticPlayer, view: View) -> Tensor:
    """The adversarial loss that one discriminator gives its generator."""
    fake = critic.for_generator(view.sr).float()
    real = fake
    if critic.spec.gan == "relativistic":
        with torch.no_grad():
            real = critic.for_generator(real_images(critic, view)).float()
    return ADVERSARIES[critic.spec.gan].generator(real, fake)


def _r1(critic: CriticPlayer, real: Tensor) -> Tensor:
    """Half the mean squared length of d logit / d image at real images (Mescheder et al. 2018, eq. 9)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic.network(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2
