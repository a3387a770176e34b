"""`srkd estimate`: what a run would take, from two real steps of each stage."""

import contextlib
import time
from typing import Any, NamedTuple, Unpack

from rich.table import Table

from srkd.files import StrPath
from srkd.recipe import RunOptions, make_recipe
from srkd.strategies import StrategyName
from srkd.terminal import Progress, answer, reports, say, track
from srkd.training.launch import announce

_STEPS = 2


class StageCost(NamedTuple):
    """What a stage would take.

    Args:
        parameters: of all generators and discriminators.
        steps: of the stage.
        seconds_per_step: measured, validation apart.
        teraflops_per_step: floating-point operations of a step over all processes, in 10^12.
        hours: of the whole stage.
    """

    parameters: int
    steps: int
    seconds_per_step: float
    teraflops_per_step: float
    hours: float


@reports
def estimate(
    data: StrPath,
    *,
    strategy: StrategyName = "g2g_al",
    model: str | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> dict[str, StageCost]:
    """Measure speed, memory and time of a run from two real steps.

    Everything that the run needs is built and checked; nothing is written.

    Args:
        strategy: what to run.

    Returns:
        The cost of each stage, by its name. srkd.recipe.RunOptions describes the other arguments.

    Raises:
        SrkdError, UsageError: what the run itself would raise before its first step.
    """
    recipe = make_recipe(data, strategy, model, options)
    announce(recipe)
    from srkd.terminal import silence
    from srkd.training.memory import peak_memory
    from srkd.training.requirements import resolve
    from srkd.training.run import threads_restored
    from srkd.training.setup import make_fabric, open_job

    stages = resolve(recipe)
    with contextlib.ExitStack() as stack:
        stack.enter_context(threads_restored())
        fabric = make_fabric(recipe)
        fabric.launch()
        if not fabric.is_global_zero:
            stack.enter_context(silence())
        job = open_job(recipe, stages, fabric)
        names = track(stages, "measuring", len(stages))
        costs = {name: _measure(job, name) for name in names}
        answer(_table(costs, f"{recipe.strategy} on {fabric.device}, {fabric.world_size} process(es)"))
        hours = sum(cost.hours for cost in costs.values())
        say(
            f"{len(job.data.train)} training and {len(job.data.val)} validation images; peak memory of a "
            f"process {peak_memory(fabric.device) / 2**30:.2f} GiB; about {hours:.3g} h in all, validation "
            "apart"
        )
        return costs


def _measure(job: Any, name: str) -> StageCost:
    """The cost of a stage of a job (srkd.training.setup.Job)."""
    from torch.utils.flop_counter import FlopCounterMode

    from srkd.models.cost import count_parameters
    from srkd.training.step import train_step

    stage = job.stages[name]
    job.rehearse(name)
    crops, state = job.crops(name), job.build(name)
    with FlopCounterMode(display=False) as counter:
        train_step(state, job.parts(state, name, 0, crops(0)), 0)
    began = time.perf_counter()
    for step in range(1, 1 + _STEPS):
        for term in train_step(state, job.parts(state, name, step, crops(step)), step):
            float(term.value)  # waits for the device
    seconds = (time.perf_counter() - began) / _STEPS
    players = [m.network for m in state.members] + [c.network for c in state.critics]
    return StageCost(
        sum(map(count_parameters, players)),
        stage.steps,
        seconds,
        # The counter counts a multiply-accumulate as two operations.
        counter.get_total_flops() * job.fabric.world_size / 1e12,
        seconds * stage.steps / 3600,
    )


def _table(costs: dict[str, StageCost], title: str) -> Table:
    table = Table(title=title)
    for column in ("stage", "parameters", "steps", "seconds/step", "TFLOP/step", "time"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, cost in costs.items():
        numbers = (f"{cost.seconds_per_step:.3g}", f"{cost.teraflops_per_step:.3g}", f"{cost.hours:.3g} h")
        table.add_row(name, f"{cost.parameters:,}", f"{cost.steps:,}", *numbers)
    return table
