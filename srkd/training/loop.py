"""The steps of one stage: batches, updates, logs, validation, checkpoints, and the way back from a step that
was not finite."""

import contextlib
import copy
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from srkd.data import Batch
from srkd.errors import SrkdError
from srkd.terminal import Advance, note, progress, say
from srkd.training.checkpoints import dump_critics, save_checkpoint
from srkd.training.feeding import cut, feed
from srkd.training.guards import Watch, save_batch
from srkd.training.memory import peak_memory
from srkd.training.outputs import describe, weights_path
from srkd.training.seeds import derive_seed
from srkd.training.setup import Job
from srkd.training.state import State
from srkd.training.step import NotFinite, train_step
from srkd.training.terms import Term
from srkd.training.validation import largest_on_noise, validate
from srkd.weights.store import save_module

LOG_EVERY = 20  # steps; more often in stages too short for a curve of that


class StageLoop:
    """Trains one stage.

    Args:
        job: the run.
        name: the stage's.
        state: its players.
        watch: warns of what goes wrong.
        step: the step to start at.
        retries: how often it was rolled back so far.
    """

    def __init__(self, job: Job, name: str, state: State, watch: Watch, step: int = 0, retries: int = 0):
        self.job, self.name, self.state, self.watch = job, name, state, watch
        self.stage, self.step, self.retries = state.stage, step, retries
        self.log_every = max(1, min(LOG_EVERY, self.stage.steps // 40))
        # Speed is that of this process, and without the time of validations.
        self.done, self.spent = 0, 0.0
        self.shown = step
        self.psnr = math.nan
        self.batch: Batch | None = None
        # The best weights since the last checkpoint, with their path and facts.
        self.better: list[tuple[Path, nn.Module, dict[str, Any]]] = []
        # What to return to when a step is not finite.
        self.good = (step, copy.deepcopy(state.state_dict()), dict(job.best))

    def run(self) -> None:
        """Trains to the stage's end; gives the job the last validation PSNR in dB."""
        psnr, best = dict(self.job.psnr), dict(self.job.best)
        self.job.log.update(stage=self.name, step=self.step, steps=self.stage.steps, psnr=psnr, best=best)
        with stopping() as stop, progress(self.name, self.stage.steps, self.step) as advance:
            while self.step < self.stage.steps:
                try:
                    self.train_until(stop, advance)
                except NotFinite as error:
                    self.rollback(error)
            self.validate()
            self.save_best()
        self.job.psnr[self.name] = self.psnr
        if self.name == list(self.job.stages)[-1]:
            self.checkpoint()

    def train_until(self, stop: threading.Event, advance: Advance) -> None:
        """Steps until the stage ends, the run is stopped, or a step is not finite.

        Raises:
            NotFinite: a loss or gradient was not finite.
            KeyboardInterrupt: the run was stopped; a checkpoint is saved.
        """
        job, state, recipe = self.job, self.state, self.job.recipe
        batches = job.crops(self.name).stream(self.step, self.stage.steps)
        for batch, images in feed(batches, state.fabric.device):
            began = time.perf_counter()
            self.batch = batch
            # Random numbers depend on the step alone, so there is no generator's state to keep.
            torch.manual_seed(derive_seed(recipe.seed, self.name, self.step, state.fabric.global_rank))
            state.set_rates(self.step)
            terms = train_step(state, cut(images, state.accumulate), self.step)
            self.step += 1
            spent = time.perf_counter() - began
            self.done, self.spent, job.seconds = self.done + 1, self.spent + spent, job.seconds + spent
            if self.step % self.log_every == 0 or self.step == self.stage.steps:
                self.report(terms, advance)
            if self.step % recipe.validate_every == 0 and self.step < self.stage.steps:
                self.validate()
            asked = job.stop_file.exists() if state.fabric.is_global_zero else False
            stopped = state.fabric.strategy.reduce_boolean_decision(stop.is_set() or asked, all=False)
            if stopped or (self.step % recipe.save_every == 0 and self.step < self.stage.steps):
                self.checkpoint()
            if stopped:
                by = " by srkd stop" if asked else ""
                if asked:
                    job.stop_file.unlink(missing_ok=True)
                say(f"stopped{by} at step {self.step} of {self.name}, which is saved")
                raise KeyboardInterrupt

    def rollback(self, error: NotFinite) -> None:
        """Returns to the last good state at half the rate.

        Raises:
            SrkdError: that was tried often enough.
        """
        job, at = self.job, self.step
        for optimizer in self.state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if self.retries >= job.recipe.retries:
            where = job.folder / "failed_batch.safetensors"
            if job.fabric.is_global_zero and self.batch is not None:
                save_batch(where, self.batch)
            raise SrkdError(
                f"{error} became infinite or not a number at step {at} of {self.name}, "
                f"{self.retries} times at falling rates; its batch is in {where}, earlier checkpoints are "
                "intact: lower the rate or the term's weight"
            )
        self.retries += 1
        factor = self.state.rate_factor / 2
        # The steps since then never were: neither their log nor their best weights stay.
        self.step, state, best = self.good
        self.state.load_state_dict(copy.deepcopy(state))
        self.state.rate_factor = factor
        job.best, self.better = dict(best), []
        job.log.rewind(self.name, self.step, notes=True)
        message = (
            f"{error} was not finite at step {at}: back to step {self.step} at {factor:g} times the rate"
        )
        note(message, f"warning, {self.name}")
        job.log.note(self.name, at, message)

    def report(self, terms: list[Term], advance: Advance) -> None:
        """Logs and shows a step's losses."""
        terms = [term._replace(value=term.value.cpu()) for term in terms]
        self.watch.losses(self.step, terms)
        numbers = {term.name: float(term.value) for term in terms}
        speed = self.done / max(self.spent, 1e-9)
        rates = {
            f"{player}_{k}" if k else player: float(f"{group['lr']:.4g}")
            for player, optimizer in self.state.optimizers.items()
            for k, group in enumerate(optimizer.param_groups)
        }
        self.job.log.losses(self.name, self.step, numbers, rates, speed)
        losses = " ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        score = "" if math.isnan(self.psnr) else f"{self.psnr:.2f} dB "
        said = f"{speed:.2g} step/s {score}rate {rates['generators']:.1e} {losses}"
        advance(self.step - self.shown, said)
        self.shown = self.step

    def validate(self) -> None:
        """Validates every member; holds the best weights so far."""
        job, fabric = self.job, self.job.fabric
        if fabric.is_global_zero:
            averages = [member.average.module for member in self.state.members]
            found = [validate(a, job.data.val, job.recipe.scale, fabric.device) for a in averages]
            scores = [score for score, _ in found]
            self.psnr = float(np.mean(scores))
            job.memory = max(job.memory, peak_memory(fabric.device))
            job.log.scores(self.name, self.step, scores, found[0][1])
            self.watch.validation(self.step, self.psnr)
            self.watch.noise(self.step, max(largest_on_noise(a, fabric.device) for a in averages))
            if self.psnr > job.best.get(self.name, -math.inf):
                self.keep_best()
            psnr = {**job.psnr, self.name: round(self.psnr, 4)}
            job.log.update(step=self.step, psnr=psnr, best=dict(job.best))
            left = (self.stage.steps - self.step) * self.spent / max(self.done, 1)
            shown = ", ".join(f"{score:.2f}" for score in scores)
            say(f"{self.name} {self.step}/{self.stage.steps}: {shown} dB, {_duration(left)} left")
        self.psnr = float(fabric.broadcast(self.psnr))

    def keep_best(self) -> None:
        """Remembers the averaged weights as the best ones so far."""
        job = self.job
        job.best[self.name] = self.psnr
        facts = {**describe(job, self.name), "steps": self.step, "psnr": self.psnr}
        self.better = [
            (
                weights_path(job.recipe, f"{self.name}_best", index),
                copy.deepcopy(member.average.module),
                facts,
            )
            for index, member in enumerate(self.state.members)
        ]

    def save_best(self) -> None:
        """Writes the best weights, no sooner than the steps that led to them are safe from a rollback."""
        for path, module, facts in self.better:
            save_module("generator", module, path, **facts)
        self.better = []

    def checkpoint(self) -> None:
        """Saves all that the run needs to continue from this step."""
        job = self.job
        self.save_best()
        content = {
            "recipe": asdict(job.recipe),
            "data": job.data.identity,
            "stage": self.name,
            "step": self.step,
            "steps": {name: stage.steps for name, stage in job.stages.items()},
            "state": self.state.state_dict(),
            "former": dump_critics(job.former),
            "psnr": job.psnr,
            "best": job.best,
            "retries": self.retries,
            "seconds": job.seconds,
        }
        self.good = (self.step, copy.deepcopy(content["state"]), dict(job.best))
        if job.fabric.is_global_zero:
            save_checkpoint(job.folder, list(job.stages).index(self.name), content, job.recipe.keep)
            job.log.update(step=self.step)


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Turns Ctrl-C, and SIGTERM where there is one, into an event, so that a step is never cut in two.

    A second Ctrl-C stops at once. Outside the main thread, signals are left alone.
    """
    event = threading.Event()

    def request(_signum: int, _frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
