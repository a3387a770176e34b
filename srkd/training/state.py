"""A stage's players: generators with their averages, losses and optimisers, critics, and the teacher."""

import contextlib
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from srkd.config import Critic, Loss, Stage
from srkd.errors import UsageError
from srkd.losses import LOSSES, create_loss
from srkd.models import create_discriminator
from srkd.terminal import console
from srkd.training.optimizers import create_optimizer
from srkd.training.requirements import check_stage, uses_teacher
from srkd.training.teachers import Teacher


@dataclass
class CriticPlayer:
    """A discriminator.

    Args:
        network: the bare network.
        module: what its own training calls: in the run's precision, in step with other processes.
        judge: what the generator's training calls: the network, compiled if the run is. It must not make
            processes wait for gradients that this pass does not give.
        imitated: the teacher's discriminator, if the critic learns its logits.
    """

    spec: Critic
    network: nn.Module
    module: Any
    judge: Any
    imitated: nn.Module | None = None


@dataclass
class Member:
    """A generator, its running average, its losses, and its critics by name (one or several copies)."""

    network: nn.Module
    generator: Any
    average: AveragedModel
    losses: dict[str, nn.Module]
    critics: dict[str, list[CriticPlayer]]


@dataclass
class State:
    """All that a stage trains.

    Args:
        generators, critics_optimizer: one optimiser for all generators with their adapters, one for all
            critics (None without critics): a loss scaler can serve one backward pass and one step of each.
        teachers: run on every batch that does not bring their images; empty where nothing looks at them.
        rate_factor: on every learning rate; lowered after a step that was not finite.
    """

    fabric: Fabric
    stage: Stage
    members: list[Member]
    teachers: list[Teacher]
    generators: Any
    critics_optimizer: Any
    accumulate: int = 1
    clip: float | None = None
    rate_factor: float = 1.0

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
        """Sets every learning rate for a step: cosine from the player's own to the stage's `final_rate`."""
        share = (1 + math.cos(math.pi * step / self.stage.steps)) / 2
        final = self.stage.final_rate
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.rate_factor * (final + (group["rate"] - final) * share)

    @property
    def optimizers(self) -> dict[str, Any]:
        both = {"generators": self.generators, "critics": self.critics_optimizer}
        return {name: optimizer for name, optimizer in both.items() if optimizer is not None}

    def state_dict(self) -> dict[str, Any]:
        return {
            "members": [
                {
                    "network": member.network.state_dict(),
                    "average": member.average.state_dict(),
                    "losses": {name: loss.state_dict() for name, loss in _bare(member).items()},
                }
                for member in self.members
            ],
            "critics": [critic.network.state_dict() for critic in self.critics],
            "optimizer": self.stage.optimizer,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": self.fabric.strategy.precision.state_dict(),
            "rate_factor": self.rate_factor,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Puts a state in place. Of optimisers what they have gathered alone: their rates and the like are
        the stage's own, which may have changed; and another optimiser of the generators begins anew."""
        for member, entry in zip(self.members, saved["members"], strict=True):
            member.network.load_state_dict(entry["network"])
            member.average.load_state_dict(entry["average"])
            for name, loss in _bare(member).items():
                loss.load_state_dict(entry["losses"][name])
        for critic, entry in zip(self.critics, saved["critics"], strict=True):
            critic.network.load_state_dict(entry)
        for name, optimizer in self.optimizers.items():
            gathered = saved["optimizers"][name]
            own = optimizer.state_dict()["param_groups"]
            if [group["params"] for group in own] != [group["params"] for group in gathered["param_groups"]]:
                raise ValueError(f"other parameters for the optimiser of the {name}")
            before = saved.get("optimizer", self.stage.optimizer)
            if name == "generators" and before != self.stage.optimizer:
                console.print(f"[yellow]note:[/] {self.stage.optimizer} begins anew, after {before}")
                continue
            optimizer.load_state_dict({**gathered, "param_groups": own})
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        self.rate_factor = saved["rate_factor"]


def build_state(
    fabric: Fabric,
    stage: Stage,
    networks: list[nn.Module],
    previous: Mapping[tuple[int, str, int], nn.Module],
    teachers: Sequence[Teacher],
    seed: int,
    *,
    compile: bool = False,
    accumulate: int = 1,
    clip: float | None = None,
    bare: bool = False,
) -> State:
    """Builds a stage's players around the generators.

    Args:
        fabric: places modules on the device, in the precision, and in step with other processes.
        stage: what to build.
        networks: the members' generators, trained on in place.
        previous: critics of earlier stages by (member, name, copy).
        teachers: run only if the stage looks at them; features and discriminator are the first one's.
        seed: decides the initial weights of critics and adapters.
        compile: compile generators and critics.
        accumulate, clip: as in a recipe.
        bare: leave modules as they are, in full precision and out of step with other processes, to look at
            their gradients rather than to train.

    Raises:
        UsageError: a loss or critic needs what is not there, or does not go with the others.
    """
    check_stage(stage)
    taught = list(teachers) if uses_teacher(stage) else []
    first = taught[0] if taught else None
    set_up = _as_it_is if bare else fabric.setup_module
    members = []
    for index, network in enumerate(networks):
        network = network.to(fabric.device).to(memory_format=torch.channels_last).train()
        # Copied before losses hook into the network: the average must not answer for it.
        average = AveragedModel(network, multi_avg_fn=_average(stage.ema))
        modules = {
            "student": network,
            "teacher": first.generator if first else None,
            "discriminator": first.discriminator if first else None,
        }
        losses = {}
        for name, loss in stage.losses.items():
            torch.manual_seed(_seed(seed, index, name))
            losses[name] = create_loss(name, loss.options, modules).to(fabric.device)
            if _is_trained(losses[name]) and not bare:
                # The strategy's own wrapping: the precision's would round the images that go in.
                losses[name] = fabric.strategy.setup_module(losses[name])
        generator = set_up(_ready(fabric, network, compile))
        critics: dict[str, list[CriticPlayer]] = {}
        for name, spec in stage.critics.items():
            critics[name] = []
            for copy in range(spec.copies):
                torch.manual_seed(_seed(seed, index, name, copy))
                former = previous.get((index, name, copy))
                critic = _build_critic(fabric, spec, former, first, compile, set_up)
                critics[name].append(critic)
        members.append(Member(network, generator, average, losses, critics))
    groups = [
        {"params": [p for m in (x.network, *x.losses.values()) for p in m.parameters() if p.requires_grad]}
        for x in members
    ]
    groups = [{**group, "rate": stage.rate} for group in groups]
    generators = fabric.setup_optimizers(
        create_optimizer(stage.optimizer, groups, fabric.device, stage.weight_decay)
    )
    played = [c for member in members for copies in member.critics.values() for c in copies]
    critics_optimizer = None
    if played:
        groups = [{"params": list(c.network.parameters()), "rate": c.spec.rate or stage.rate} for c in played]
        critics_optimizer = fabric.setup_optimizers(create_optimizer("adam", groups, fabric.device))
    return State(fabric, stage, members, taught, generators, critics_optimizer, accumulate, clip)


def _as_it_is(module: nn.Module) -> nn.Module:
    return module


def _ready(fabric: Fabric, network: nn.Module, compile: bool) -> Any:
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return torch.compile(network) if compile else network


def term_weights(stage: Stage, step: int) -> dict[str, float]:
    """The factor of every term at a step: the generator's by schedule, the critics' own."""
    progress = step / max(stage.steps - 1, 1)
    replaced = stage.losses.get("output") if stage.kd_replaces else None
    keep = 1 - _scheduled(replaced, progress) if replaced else 1.0
    weights = {}
    for name, loss in stage.losses.items():
        against_hr = not LOSSES[name].distills
        weights[name] = _scheduled(loss, progress) * (keep if against_hr else 1.0)
    for name, critic in stage.critics.items():
        ramp = min(1.0, progress / critic.ramp) if critic.ramp > 0 else 1.0
        weights[f"adversarial_{name}"] = _scheduled(critic, progress) * ramp
        weights[f"critic_{name}"] = 1.0
        weights[f"r1_{name}"] = 0.0 if step % critic.r1_every else critic.r1 * critic.r1_every
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
    fabric: Fabric,
    spec: Critic,
    former: nn.Module | None,
    teacher: Teacher | None,
    compile: bool,
    set_up: Callable[[nn.Module], Any],
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
    judge = _ready(fabric, network, compile)
    return CriticPlayer(spec, network, set_up(judge), judge, imitated)


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


def _is_trained(loss: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in loss.parameters())


def _bare(member: Member) -> dict[str, nn.Module]:
    """A member's losses that have weights to keep, without what holds processes in step."""
    bare = {name: getattr(loss, "module", loss) for name, loss in member.losses.items()}
    return {name: loss for name, loss in bare.items() if _is_trained(loss) or loss.saved}
