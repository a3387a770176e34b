"""What a run would take, from real steps of each of its stages."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from srkd.models.cost import count_parameters
from srkd.recipe import Recipe
from srkd.training import StageCost
from srkd.training.requirements import resolve
from srkd.training.setup import Job, launched, open_job
from srkd.training.step import train_step
from srkd.training.teacher_costs import time_teachers


@contextlib.contextmanager
def opened(recipe: Recipe) -> Iterator[Job]:
    """A run that is set up and checked as for training, and writes nothing.

    Raises:
        SrkdError, UsageError: what the run itself would raise before its first step.
    """
    stages = resolve(recipe)
    with launched(recipe) as fabric:
        yield open_job(recipe, stages, fabric)


def measure_stage(job: Job, name: str, steps: int = 2) -> StageCost:
    """Rehearses a stage, and times some of its steps."""
    stage = job.stages[name]
    job.rehearse(name)
    crops, state = job.crops(name), job.build(name)
    with FlopCounterMode(display=False) as counter:
        train_step(state, job.parts(state, crops(0)), 0)
    began = time.perf_counter()
    for step in range(1, 1 + steps):
        for term in train_step(state, job.parts(state, crops(step)), step):
            float(term.value)  # waits for the device
    seconds = (time.perf_counter() - began) / steps
    players = [m.network for m in state.members] + [c.network for c in state.critics]
    return StageCost(
        sum(map(count_parameters, players)),
        stage.steps,
        seconds,
        # The counter counts a multiply-accumulate as two operations.
        counter.get_total_flops() * job.fabric.world_size / 1e12,
        seconds * stage.steps / 3600,
        time_teachers(job, name),
        _count_bytes(state.state_dict()),
        sum(_count_bytes(player.state_dict()) for player in players),
    )


def _count_bytes(value: Any) -> int:
    """The bytes of all tensors in nested mappings and lists."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_count_bytes, value.values()))
    return sum(map(_count_bytes, value)) if isinstance(value, list | tuple) else 0
