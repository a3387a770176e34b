"""One training step, for a cohort of any size: teacher, critics, generators, averages."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from srkd.losses.base import View
from srkd.losses.functional import ADVERSARIES, bernoulli_kl
from srkd.training.state import CriticPlayer, Member, State

Terms = dict[tuple[int, str], Tensor]
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
