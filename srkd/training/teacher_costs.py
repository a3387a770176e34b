"""What a teacher costs: in every step where it runs live, or once where its outputs are stored."""

import time

from srkd.images.tensors import to_batch
from srkd.terminal import say
from srkd.training import TeacherCost
from srkd.training.requirements import runs_teacher, uses_teacher
from srkd.training.setup import Job


def time_teachers(job: Job, name: str) -> TeacherCost | None:
    """Times the teachers of a stage on one of its batches. None where none runs in it."""
    stage, recipe = job.stages[name], job.recipe
    if not job.teachers or not uses_teacher(stage):
        return None
    batch = job.crops(name)(0)
    if batch.targets:
        return None
    lr = to_batch(batch.lr, job.fabric.device)
    began = time.perf_counter()
    for teacher in job.teachers:
        float(teacher(lr).sum())  # waits for the device
    seconds = time.perf_counter() - began
    if runs_teacher(stage) or recipe.degradation != "none" or recipe.replay is not None:
        return TeacherCost(seconds, None)
    per_pixel = seconds / lr[:, 0].numel()
    pixels = sum(pair.lr.shape[0] * pair.lr.shape[1] for pair in (*job.data.train, *job.data.val))
    return TeacherCost(seconds, pixels * per_pixel / 3600)


def describe_teachers(cost: TeacherCost, name: str, steps: int) -> str:
    """A sentence on what the teachers of a stage cost, and whether storing their outputs would be cheaper."""
    hours = cost.seconds * steps / 3600
    said = f"{name}: the teacher runs live, {cost.seconds:.2g} s of each step, {_duration(hours)} in all"
    if cost.storing_hours is None:
        return f"{said}; stored outputs cannot take its place here"
    if cost.storing_hours >= hours:
        return f"{said}; storing its outputs first would take longer, {_duration(cost.storing_hours)}"
    return (
        f"{said}; storing its outputs takes about {_duration(cost.storing_hours)}, once, and then nothing in "
        "a step: srkd prepare PHOTOS PACKED --teacher FILE"
    )


def announce_teachers(job: Job) -> None:
    """Says what live teachers cost in each stage of a run that is about to start."""
    for name, stage in job.stages.items():
        cost = time_teachers(job, name)
        if cost is not None:
            say(describe_teachers(cost, name, stage.steps))


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.2g} s"
    return f"{hours * 60:.3g} min" if hours < 1.5 else f"{hours:.3g} h"
