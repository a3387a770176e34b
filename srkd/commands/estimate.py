"""`--dry-run`: what a run would take, from two real steps of each stage."""

import time

from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from srkd.models.cost import count_parameters
from srkd.recipe import Recipe
from srkd.terminal import console
from srkd.training.fit import make_fabric, open_job, peak_memory, resolve
from srkd.training.state import term_weights
from srkd.training.step import train_step

_STEPS = 2


def dry_run(recipe: Recipe) -> None:
    """Builds everything that a run needs, takes two steps of each stage, and prints speed, memory
    and estimated time. Writes nothing.

    Raises:
        SrkdError, UsageError: what the run itself would raise before its first step.
    """
    stages = resolve(recipe)
    fabric = make_fabric(recipe)
    fabric.launch()
    job = open_job(recipe, stages, fabric)
    table = Table(title=f"{recipe.strategy} on {fabric.device}, {fabric.world_size} process(es)")
    for column in ("stage", "parameters", "steps", "seconds/step", "TFLOP/step", "time"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    total = 0.0
    for name, stage in stages.items():
        job.rehearse(name)
        crops = job.crops(name)
        state = job.build(name)
        with FlopCounterMode(display=False) as counter:
            train_step(state, job.parts(state, name, 0, crops(0)), term_weights(stage, 0))
        began = time.perf_counter()
        for step in range(1, 1 + _STEPS):
            parts = job.parts(state, name, step, crops(step))
            for value in train_step(state, parts, term_weights(stage, step)).values():
                float(value)  # waits for the device
        seconds = (time.perf_counter() - began) / _STEPS
        total += seconds * stage.steps
        # Two operations to a multiply-accumulate, as FLOP are counted.
        work = counter.get_total_flops() * fabric.world_size / 1e12
        players = [m.network for m in state.members] + [c.network for c in state.critics]
        table.add_row(
            name,
            f"{sum(map(count_parameters, players)):,}",
            f"{stage.steps:,}",
            f"{seconds:.3g}",
            f"{work:.3g}",
            f"{seconds * stage.steps / 3600:.3g} h",
        )
    if fabric.is_global_zero:
        console.print(table)
        memory = peak_memory(fabric)
        console.print(
            f"{len(job.data.train)} training and {len(job.data.val)} validation images; peak memory of a "
            f"process {memory / 2**30:.2f} GiB; about {total / 3600:.3g} h in all, validation apart"
        )
