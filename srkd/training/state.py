"""A stage's players: generators with their averages, losses and optimisers, critics, and the teacher."""

import contextlib
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from srkd.errors import SrkdError, UsageError, choose
from srkd.losses import LOSSES, create_loss
from srkd.losses.functional import ADVERSARIES
from srkd.models import create_discriminator
from srkd.strategies import Critic, Loss, Stage
from srkd.teachers import Teacher


@dataclass
class CriticPlayer:
    """A discriminator: the bare network, the module that training calls, and whom it imitates, if anyone."""

    spec: Critic
    network: nn.Module
    module: Any
    optimizer: Any
    imitated: nn.Module | None = None


@dataclass
class Member:
    """A generator, its running average, its losses, and its critics by name (one or several copies)."""

    network: nn.Module
    generator: Any
    average: AveragedModel
    losses: dict[str, nn.Module]
    optimizer: Any
    critics: dict[str, list[CriticPlayer]]


@dataclass
class State:
    """All that a stage trains."""

    fabric: Fabric
    stage: Stage
    members: list[Member]
    teacher: Teacher | None

    @property
    def critics(self) -> list[CriticPlayer]:
        return [c for member in self.members for copies in member.critics.values() for c in copies]

    @contextlib.contextmanager
    def frozen_critics(self) -> Iterator[None]:
        """Keeps the generators' backward pass from computing the critics' gradients."""
        for critic in self.critics:
            critic.network.requires_grad_(False)
        try:
            yield
        finally:
            for critic in self.critics:
                critic.network.requires_grad_(True)

    def set_rates(self, step: int) -> None:
        """Sets every optimiser's learning rate for a step: cosine from `rate` to `final_rate`."""
        stage = self.stage
        share = (1 + math.cos(math.pi * step / stage.steps)) / 2
        rates = [(member.optimizer, stage.rate) for member in self.members]
        rates += [(critic.optimizer, critic.spec.rate or stage.rate) for critic in self.critics]
        for optimizer, rate in rates:
            for group in optimizer.param_groups:
                group["lr"] = stage.final_rate + (rate - stage.final_rate) * share

    def state_dict(self) -> dict[str, Any]:
        return {
            "members": [
                {
                    "network": member.network.state_dict(),
                    "average": member.average.state_dict(),
                    "losses": {name: loss.state_dict() for name, loss in _trained(member).items()},
                    "optimizer": member.optimizer.state_dict(),
                }
                for member in self.members
            ],
            "critics": [
                {"network": critic.network.state_dict(), "optimizer": critic.optimizer.state_dict()}
                for critic in self.critics
            ],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        for member, entry in zip(self.members, saved["members"], strict=True):
            member.network.load_state_dict(entry["network"])
            member.average.load_state_dict(entry["average"])
            member.optimizer.load_state_dict(entry["optimizer"])
            for name, loss in _trained(member).items():
                loss.load_state_dict(entry["losses"][name])
        for critic, entry in zip(self.critics, saved["critics"], strict=True):
            critic.network.load_state_dict(entry["network"])
            critic.optimizer.load_state_dict(entry["optimizer"])


def build_state(
    fabric: Fabric,
    stage: Stage,
    networks: list[nn.Module],
    previous: Mapping[tuple[int, str, int], nn.Module],
    teacher: Teacher | None,
    seed: int,
) -> State:
    """Builds a stage's players around the generators.

    Args:
        fabric: places modules on the device and in the precision.
        stage: what to build.
        networks: the members' generators, trained on in place.
        previous: critics of earlier stages by (member, name, copy).
        teacher: runs only if the stage looks at it.
        seed: decides the initial weights of critics and adapters.

    Raises:
        UsageError: a loss or critic needs what is not there, or does not go with the others.
    """
    check_stage(stage)
    teacher = teacher if uses_teacher(stage) else None
    members = []
    for index, network in enumerate(networks):
        network = network.to(fabric.device).to(memory_format=torch.channels_last).train()
        # Copied before losses hook into the network: the average must not answer for it.
        average = AveragedModel(network, multi_avg_fn=_average(stage.ema))
        modules = {
            "student": network,
            "teacher": teacher.generator if teacher else None,
            "discriminator": teacher.discriminator if teacher else None,
        }
        losses = {}
        for name, loss in stage.losses.items():
            torch.manual_seed(_seed(seed, index, name))
            losses[name] = create_loss(name, loss.options, modules).to(fabric.device)
        trained = [p for m in (network, *losses.values()) for p in m.parameters() if p.requires_grad]
        optimizer: Any = torch.optim.Adam(trained, lr=stage.rate, betas=(0.9, 0.99))
        generator, optimizer = fabric.setup(network, optimizer)
        critics: dict[str, list[CriticPlayer]] = {}
        for name, spec in stage.critics.items():
            critics[name] = []
            for copy in range(spec.copies):
                torch.manual_seed(_seed(seed, index, name, copy))
                critic = _build_critic(fabric, spec, previous.get((index, name, copy)), teacher, stage.rate)
                critics[name].append(critic)
        members.append(Member(network, generator, average, losses, optimizer, critics))
    return State(fabric, stage, members, teacher)


def check_stage(stage: Stage) -> None:
    """Raises UsageError for a stage whose parts do not go together."""
    for name in stage.losses:
        choose("loss", name, LOSSES)
    if not stage.losses and not stage.critics:
        raise UsageError("the stage has no losses")
    for field in ("steps", "crop", "batch"):
        if getattr(stage, field) < 1:
            raise UsageError(f"{field} must be at least 1, not {getattr(stage, field)}")
    if stage.rate <= 0:
        raise UsageError(f"rate must be positive, not {stage.rate}")
    for name, critic in stage.critics.items():
        choose("adversarial loss", critic.gan, ADVERSARIES)
        if critic.copies < 1:
            raise UsageError(f"critic '{name}' needs at least one copy")
        if critic.weight == 0 and (critic.schedule == "constant" or critic.final == 0):
            raise UsageError(f"critic '{name}' is trained but feeds nobody (weight 0); set a weight or null")
        if stage.mutual is not None and critic.real != "hr":
            raise UsageError(
                f"mutual distillation is of critics of HR, and critic '{name}' is of the teacher"
            )
        if stage.mutual is not None and critic.gan != "vanilla":
            raise UsageError(
                f"mutual distillation needs probability logits, and critic '{name}' is {critic.gan}"
            )
    if stage.mutual is not None and not stage.critics:
        raise UsageError("mutual distillation needs critics")


def uses_teacher(stage: Stage) -> bool:
    """Whether anything in the stage looks at the teacher."""
    losses = any(LOSSES[choose("loss", name, LOSSES)].teacher for name in stage.losses)  # type: ignore[attr-defined]
    return losses or any("teacher" in (critic.real, critic.init) for critic in stage.critics.values())


def uses_discriminator(stage: Stage) -> bool:
    """Whether anything in the stage looks at the teacher's discriminator."""
    losses = any("discriminator" in LOSSES[name].needs for name in stage.losses)  # type: ignore[attr-defined]
    return losses or any(critic.init == "teacher" for critic in stage.critics.values())


def term_weights(stage: Stage, step: int) -> dict[str, float]:
    """The factor of every term at a step: the generator's by schedule, the critics' own."""
    progress = step / max(stage.steps - 1, 1)
    replaced = stage.losses.get("output") if stage.kd_replaces else None
    keep = 1 - _scheduled(replaced, progress) if replaced else 1.0
    weights = {}
    for name, loss in stage.losses.items():
        against_hr = not LOSSES[name].teacher  # type: ignore[attr-defined]
        weights[name] = _scheduled(loss, progress) * (keep if against_hr else 1.0)
    for name, critic in stage.critics.items():
        weights[f"adversarial_{name}"] = _scheduled(critic, progress)
        weights[f"critic_{name}"] = 1.0
        weights[f"imitation_{name}"] = critic.imitate
    if stage.mutual is not None:
        ramp = min(1.0, progress / stage.mutual.ramp) if stage.mutual.ramp > 0 else 1.0
        weights |= {"mutual": stage.mutual.weight * ramp, "disagreement": 0.0}
    return weights


def _scheduled(term: Loss | Critic, progress: float) -> float:
    share = {
        "constant": 1.0,
        "linear": 1 - progress,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
    }[term.schedule]
    return term.final + (term.weight - term.final) * share if term.schedule != "constant" else term.weight


def _build_critic(
    fabric: Fabric, spec: Critic, former: nn.Module | None, teacher: Teacher | None, rate: float
) -> CriticPlayer:
    imitated = None
    if spec.init == "previous" and former is not None:
        network = former
    else:
        network = create_discriminator(spec.name, **spec.options)
    if spec.init == "teacher":
        if teacher is None or teacher.discriminator is None:
            raise UsageError("a critic starts from the teacher's discriminator; give --teacher_discriminator")
        if not copy_matching(network, teacher.discriminator):
            imitated = teacher.discriminator
    network = network.to(fabric.device).to(memory_format=torch.channels_last).train().requires_grad_(True)
    optimizer: Any = torch.optim.Adam(network.parameters(), lr=spec.rate or rate, betas=(0.9, 0.99))
    module, optimizer = fabric.setup(network, optimizer)
    return CriticPlayer(spec, network, module, optimizer, imitated)


def copy_matching(network: nn.Module, source: nn.Module) -> bool:
    """Copies every tensor of equal name and shape; returns whether all were."""
    own, other = network.state_dict(), source.state_dict()
    matching = {key: other[key] for key in own if key in other and other[key].shape == own[key].shape}
    network.load_state_dict(matching, strict=False)
    return len(matching) == len(own)


def _average(decay: float):
    """An exponential average whose decay rises from 0, so that short stages are not mostly their start."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        current = min(decay, (1 + float(count)) / (10 + float(count)))
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, 1 - current)

    return update


def _seed(seed: int, *parts: Any) -> int:
    return hash_int("/".join(map(str, (seed, *parts))))


def hash_int(text: str) -> int:
    """A stable 31-bit integer of a text; Python's own hash differs between processes."""
    return zlib.crc32(text.encode()) & 0x7FFFFFFF


def _trained(member: Member) -> dict[str, nn.Module]:
    return {
        name: loss for name, loss in member.losses.items() if any(p.requires_grad for p in loss.parameters())
    }


def check_finite(parts: Mapping[str, Tensor], step: int) -> None:
    """Raises SrkdError naming the first term that is no longer a finite number."""
    for name, value in parts.items():
        if not math.isfinite(float(value)):
            raise SrkdError(
                f"the loss '{name}' became {float(value)} at step {step}; the last checkpoint is intact: "
                "lower the rate or the term's weight and run again"
            )
