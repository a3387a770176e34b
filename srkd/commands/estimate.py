"""`srkd estimate`: what a run would take, from two real steps of each stage."""

from typing import Unpack

from rich.table import Table

from srkd.files import StrPath
from srkd.recipe import RunOptions, make_recipe
from srkd.strategies import StrategyName
from srkd.terminal import Progress, answer, reports, say, track
from srkd.training import StageCost
from srkd.training.launch import announce


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

    Two steps of each stage are timed. Everything that the run needs is built and checked; nothing is written.
    Where a teacher runs live, its part is named, with what storing its outputs would take instead.

    Args:
        strategy: what to run.

    Returns:
        The cost of each stage, by its name. srkd.recipe.RunOptions describes the other arguments.

    Raises:
        SrkdError, UsageError: what the run itself would raise before its first step.
    """
    recipe = make_recipe(data, strategy, model, options)
    announce(recipe)
    from srkd.training.costs import measure_stage, opened
    from srkd.training.memory import peak_memory
    from srkd.training.teacher_costs import describe_teachers

    with opened(recipe) as job:
        costs = {name: measure_stage(job, name) for name in track(job.stages, "measuring", len(job.stages))}
        place = f"{job.fabric.device}, {job.fabric.world_size} process(es)"
        answer(_table(costs, f"{recipe.strategy} on {place}"))
        for name, cost in costs.items():
            if cost.teacher is not None:
                say(describe_teachers(cost.teacher, name, cost.steps))
        hours = sum(cost.hours for cost in costs.values())
        say(
            f"{len(job.data.train)} training and {len(job.data.val)} validation images; peak memory of a "
            f"process {peak_memory(job.fabric.device) / 2**30:.2f} GiB; about {hours:.3g} h in all, "
            "validation apart"
        )
        return costs


def _table(costs: dict[str, StageCost], title: str) -> Table:
    table = Table(title=title)
    for column in ("stage", "parameters", "steps", "seconds/step", "TFLOP/step", "time"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, cost in costs.items():
        numbers = (f"{cost.seconds_per_step:.3g}", f"{cost.teraflops_per_step:.3g}", f"{cost.hours:.3g} h")
        table.add_row(name, f"{cost.parameters:,}", f"{cost.steps:,}", *numbers)
    return table
