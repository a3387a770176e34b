"""A run from its first stage to its last, and the weights that it leaves."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from srkd.errors import SrkdError, UsageError, first_line
from srkd.files import write_text
from srkd.recipe import Recipe
from srkd.terminal import say
from srkd.training import Run
from srkd.training.checkpoints import (
    ChangedRunError,
    drop_checkpoints,
    load_critics,
    load_newest,
)
from srkd.training.continuing import continue_from
from srkd.training.guards import Watch
from srkd.training.logs import RunLog
from srkd.training.loop import StageLoop
from srkd.training.memory import peak_memory
from srkd.training.outputs import describe, save_member, weights_path
from srkd.training.requirements import resolve
from srkd.training.setup import Job, launched, lock_run, open_job
from srkd.training.state import State
from srkd.training.teacher_costs import announce_teachers
from srkd.training.validation import bicubic_psnr


def run(recipe: Recipe, resume: bool = False, allow_changes: bool = False) -> Run:
    """Trains what a recipe says.

    Args:
        recipe: the run's arguments.
        resume: continue from the newest checkpoint in `recipe.out`; without one there, start. A finished run
            goes on where its last stage is to have more steps.
        allow_changes: continue although the recipe is not the one that the run was started with.

    Returns:
        The weights after each stage.

    Raises:
        UsageError: the recipe cannot be carried out as it stands; nothing was trained.
        SrkdError: training failed; earlier checkpoints are intact.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving a checkpoint.
    """
    stages = resolve(recipe)
    folder = Path(recipe.out)
    with contextlib.ExitStack() as stack:
        fabric = stack.enter_context(launched(recipe))
        stack.enter_context(_deaths_explained(fabric))
        _on_first(fabric, lambda: stack.enter_context(lock_run(folder, resume)))
        saved = load_newest(folder) if resume else None
        if saved:
            recipe = continue_from(folder, saved, recipe, allow_changes)
            stages = resolve(recipe)
        job = open_job(recipe, stages, fabric)
        if saved and saved["data"] != job.data.identity and not allow_changes:
            raise ChangedRunError(
                f"the images in {recipe.data} are not those that the run in {folder} was started with; "
                "restore them, or give another --out"
            )
        return _run_stages(job, saved)


def _run_stages(job: Job, saved: dict[str, Any] | None) -> Run:
    """The stages that are left, one after another."""
    recipe, folder, names = job.recipe, job.folder, list(job.stages)
    if saved:
        job.former, job.psnr, job.best = load_critics(saved["former"]), saved["psnr"], saved["best"]
        job.seconds = saved["seconds"]
    else:
        for name in names:
            job.rehearse(name)
        announce_teachers(job)
    if job.fabric.is_global_zero:
        write_text(folder / "recipe.yaml", recipe.to_yaml())
    job.log.begin(*((saved["stage"], saved["step"]) if saved else ()))
    bicubic = bicubic_psnr(job.data.val, recipe.scale)
    left = names[names.index(saved["stage"]) :] if saved else names
    with _failures_logged(job.log):
        for name in left:
            _run_stage(job, name, saved if saved and name == saved["stage"] else None, bicubic)
            say(
                f"{name}: {job.psnr[name]:.2f} dB on {len(job.data.val)} validation images "
                f"(bicubic {bicubic:.2f}) -> {weights_path(recipe, name)}"
            )
    # In this order: a run that is killed in between is finished, and does not restart.
    memory = max(job.memory, peak_memory(job.fabric.device))
    job.log.update(state="finished", seconds=round(job.seconds, 3), memory=memory)
    if job.fabric.is_global_zero:
        # The last one stays, for more steps.
        drop_checkpoints(folder, keep=1)
    return Run(folder, {name: weights_path(recipe, name) for name in names}, job.psnr)


def _run_stage(job: Job, name: str, saved: dict[str, Any] | None, bicubic: float) -> None:
    """Trains a stage, whose players are gone before those of the next are built."""
    state = job.build(name)
    step, retries = 0, 0
    if saved:
        _restore(state, saved)
        step, retries = saved["step"], saved["retries"]
        say(f"resuming {name} at step {step}")
    if step < job.stages[name].steps or name not in job.psnr:
        StageLoop(job, name, state, Watch(name, bicubic), step, retries).run()
    _finish_stage(job, name, state)


def _finish_stage(job: Job, name: str, state: State) -> None:
    """Saves a stage's result, and makes it the next stage's start: the averaged weights."""
    for index, member in enumerate(state.members):
        member.network.load_state_dict(member.average.module.state_dict())
        if job.fabric.is_global_zero:
            facts = {**describe(job, name), "psnr": job.psnr[name]}
            save_member(member, weights_path(job.recipe, name, index), facts)
        for key, copies in member.critics.items():
            job.former |= {(index, key, number): critic.network for number, critic in enumerate(copies)}


def _restore(state: State, saved: dict[str, Any]) -> None:
    """Puts a checkpoint's state in place."""
    try:
        state.load_state_dict(saved["state"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise UsageError(
            f"the checkpoint does not fit the recipe's networks or losses: {first_line(error)}"
        ) from error


def _on_first(fabric: Fabric, action: Callable[[], Any]) -> None:
    """Does something in the first process; what it raises, all raise."""
    failure = None
    if fabric.is_global_zero:
        try:
            action()
        except SrkdError as error:
            failure = error
    failure = fabric.broadcast(failure)
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _failures_logged(log: RunLog) -> Iterator[None]:
    """Writes into run.json how a run ended, if not well."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(SrkdError):
            log.update(state="stopped" if stopped else "failed", error=None if stopped else str(error))
        raise


@contextlib.contextmanager
def _deaths_explained(fabric: Fabric) -> Iterator[None]:
    """Says in plain words that another process died, where collective communication fails."""
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size > 1 and any(word in str(error).lower() for word in ("gloo", "nccl", "by peer")):
            raise SrkdError(
                f"another process of this run died ({first_line(error)}); earlier checkpoints are intact"
            ) from error
        raise
