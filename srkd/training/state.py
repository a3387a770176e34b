"""A stage's players: generators with their averages, losses and optimisers, critics, and the teachers."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from srkd.config import Critic, Stage
from srkd.errors import UsageError
from srkd.losses import create_loss
from srkd.models import create_discriminator
from srkd.models.base import Discriminator, Generator
from srkd.models.copies import copy_without_hooks
from srkd.terminal import note
from srkd.training.optimizers import create_optimizer
from srkd.training.requirements import check_stage, uses_teacher
from srkd.training.schedules import cosine_rate
from srkd.training.seeds import derive_seed
from srkd.training.teachers import Teacher

# Its functions of lists of tensors, which type checkers do not know.
_lists: Any = torch
Critics = Mapping[tuple[int, str, int], Discriminator]  # discriminators by (member, critic, copy)


@dataclass
class CriticPlayer:
    """A discriminator in its place.

    Args:
        network: the bare network.
        module: what its own training calls: in the run's precision, in step with other processes.
        for_generator: what the generator's training calls: the network, compiled if the run is. It must not
            make processes wait for gradients that this pass does not give.
        imitated: the teacher's discriminator, if the critic learns its logits.
    """

    spec: Critic
    network: Discriminator
    module: Any
    for_generator: Callable[[Tensor], Tensor]
    imitated: Discriminator | None = None


@dataclass
class Member:
    """A generator, its running average, its losses, and its critics by name (one or several copies)."""

    network: Generator
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
        teachers: run on every batch that does not bring their images; empty where nothing needs them.
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
        stage = self.stage
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                rate = cosine_rate(group["rate"], stage.final_rate, step, stage.steps)
                group["lr"] = self.rate_factor * rate

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
                    "losses": {name: loss.state_dict() for name, loss in _saved_losses(member).items()},
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
        """Restores a state. Of optimisers, moments only: rates and the like are the stage's own, which may
        have changed; and if the generators' optimiser is another one now, it starts without moments.

        Raises:
            RuntimeError, KeyError, ValueError: it is the state of other players.
        """
        for member, entry in zip(self.members, saved["members"], strict=True):
            member.network.load_state_dict(entry["network"])
            member.average.load_state_dict(entry["average"])
            for name, loss in _saved_losses(member).items():
                loss.load_state_dict(entry["losses"][name])
        for critic, entry in zip(self.critics, saved["critics"], strict=True):
            critic.network.load_state_dict(entry)
        for name, optimizer in self.optimizers.items():
            moments = saved["optimizers"][name]
            own = optimizer.state_dict()["param_groups"]
            if [group["params"] for group in own] != [group["params"] for group in moments["param_groups"]]:
                raise ValueError(f"other parameters for the optimiser of the {name}")
            before = saved.get("optimizer", self.stage.optimizer)
            if name == "generators" and before != self.stage.optimizer:
                note(f"{self.stage.optimizer} starts without moments, after {before}")
                continue
            optimizer.load_state_dict({**moments, "param_groups": own})
        self.fabric.strategy.precision.load_state_dict(saved["scaler"])
        self.rate_factor = saved["rate_factor"]


def build_state(
    fabric: Fabric,
    stage: Stage,
    networks: Sequence[Generator],
    previous: Critics,
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
        previous: discriminators of earlier stages by (member, critic, copy).
        teachers: run only if the stage needs them; features and discriminator are the first one's.
        seed: decides the initial weights of critics and adapters.
        compile: compile generators and critics.
        accumulate, clip: as in a recipe.
        bare: leave modules as they are, in full precision and out of step with other processes, to check
            their gradients rather than to train.

    Raises:
        UsageError: a loss or critic needs what is not there, or does not go with the others.
    """
    check_stage(stage)
    taught = list(teachers) if uses_teacher(stage) else []
    builder = _Builder(fabric, stage, taught[0] if taught else None, seed, compile, bare)
    members = [builder.member(index, network, previous) for index, network in enumerate(networks)]
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


@dataclass(frozen=True)
class _Builder:
    """Builds members of one stage; arguments as those of `build_state`."""

    fabric: Fabric
    stage: Stage
    teacher: Teacher | None
    seed: int
    compile: bool
    bare: bool

    def member(self, index: int, network: Generator, previous: Critics) -> Member:
        network = network.to(self.fabric.device).to(memory_format=torch.channels_last).train()
        # Hooks of this stage's losses, and of the one before, must not see the average's passes.
        average = AveragedModel(copy_without_hooks(network), multi_avg_fn=_average(self.stage.ema))
        losses = self.losses(index, network)
        generator = self.set_up(self.ready(network))
        critics: dict[str, list[CriticPlayer]] = {}
        for name, spec in self.stage.critics.items():
            critics[name] = []
            for copy in range(spec.copies):
                torch.manual_seed(derive_seed(self.seed, index, name, copy))
                critics[name].append(self.critic(spec, previous.get((index, name, copy))))
        return Member(network, generator, average, losses, critics)

    def losses(self, index: int, student: Generator) -> dict[str, nn.Module]:
        teacher = self.teacher
        modules = {
            "student": student,
            "teacher": teacher.generator if teacher else None,
            "discriminator": teacher.discriminator if teacher else None,
        }
        losses: dict[str, nn.Module] = {}
        for name, loss in self.stage.losses.items():
            torch.manual_seed(derive_seed(self.seed, index, name))
            losses[name] = create_loss(name, loss.options, modules).to(self.fabric.device)
            if _is_trained(losses[name]) and not self.bare:
                # The strategy's own wrapping: the precision's would round the images that go in.
                losses[name] = self.fabric.strategy.setup_module(losses[name])
        return losses

    def critic(self, spec: Critic, former: Discriminator | None) -> CriticPlayer:
        imitated = None
        if spec.init == "previous" and former is not None:
            network = former
        else:
            network = create_discriminator(spec.name, **spec.options)
        if spec.init == "teacher":
            if self.teacher is None or self.teacher.discriminator is None:
                raise UsageError(
                    "a critic starts from the teacher's discriminator; give --teacher-discriminator"
                )
            if not copy_matching(network, self.teacher.discriminator):
                imitated = self.teacher.discriminator
        network = network.to(self.fabric.device).to(memory_format=torch.channels_last)
        network = network.train().requires_grad_(True)
        for_generator = self.ready(network)
        return CriticPlayer(spec, network, self.set_up(for_generator), for_generator, imitated)

    def ready(self, network: nn.Module) -> Any:
        if self.fabric.world_size > 1 and self.fabric.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return torch.compile(network) if self.compile else network

    def set_up(self, module: Any) -> Any:
        return module if self.bare else self.fabric.setup_module(module)


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
        if isinstance(count, Tensor) and count.is_cuda:
            move(averages, values, 1 - ((1 + count) / (10 + count)).clamp(max=decay))
            return
        current = min(decay, (1 + float(count)) / (10 + float(count)))
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, 1 - current)

    return update


def move(averages: Sequence[Tensor], values: Sequence[Tensor], share: Tensor) -> None:
    """Moves averages towards values by a share `()`, which stays on the GPU: reading it would make the step
    wait for all that the GPU has yet to do."""
    gaps = _lists._foreach_sub(list(values), list(averages))
    _lists._foreach_add_(list(averages), _lists._foreach_mul(gaps, share))


def _is_trained(loss: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in loss.parameters())


def _saved_losses(member: Member) -> dict[str, nn.Module]:
    """A member's losses that have weights to keep, without what holds processes in step."""
    bare = {name: getattr(loss, "module", loss) for name, loss in member.losses.items()}
    return {name: loss for name, loss in bare.items() if _is_trained(loss) or loss.saved}
