"""A run from first to last stage: data, the loop, validation, and the weights it leaves."""

import contextlib
import copy
import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from srkd import metrics
from srkd.config import Stage
from srkd.data import Batch, Crops, DataSet, Pair, open_data
from srkd.errors import SrkdError, UsageError
from srkd.files import file_hash, name_by_hash, write_text
from srkd.images import resample
from srkd.models import create_discriminator, create_generator
from srkd.recipe import Recipe
from srkd.strategies import STRATEGIES
from srkd.terminal import console
from srkd.training import Run
from srkd.training.checkpoints import (
    FOLDER,
    check_same_recipe,
    list_checkpoints,
    load_newest,
    save_checkpoint,
)
from srkd.training.gradients import check_gradients
from srkd.training.guards import Watch, bicubic_psnr, save_batch
from srkd.training.logs import LOCK, RunLog, read_state
from srkd.training.requirements import (
    check_stage,
    looks_inside,
    uses_discriminator,
    uses_teacher,
)
from srkd.training.state import Member, State, build_state, hash_int, term_weights
from srkd.training.step import NotFinite, Part, train_step
from srkd.training.teachers import Teacher, find_teachers, load_teachers
from srkd.weights.store import copy_weights, load_generator, save_module

DEFAULT_MODEL = "srgan_student_lite"
LOG_EVERY = 20  # steps; more often in stages too short for a curve of that
_HANG = timedelta(minutes=30)  # how long processes wait for one another, validation included

Critics = dict[tuple[int, str, int], nn.Module]


@dataclass
class Job:
    """A run's parts that all its stages share.

    Args:
        networks: the members' generators.
        teachers: those that run; none where their stored outputs do.
        taught_by: the teachers' names.
        replay: images to train on besides.
        seconds: spent in steps.
        former: critics of the stages so far by (member, name, copy).
        psnr, best: last and best validation PSNR by stage.
    """

    recipe: Recipe
    stages: dict[str, Stage]
    fabric: Fabric
    networks: list[nn.Module]
    teachers: list[Teacher]
    taught_by: str | None
    data: DataSet
    replay: list[Pair]
    log: RunLog
    seconds: float = 0.0
    former: Critics = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(self.recipe.out)

    def crops(self, name: str) -> Crops:
        """A stage's batches: of each, the rows that this process works on."""
        stage, recipe = self.stages[name], self.recipe
        share = stage.batch // self.fabric.world_size
        rows = range(self.fabric.global_rank * share, (self.fabric.global_rank + 1) * share)
        seed = [recipe.seed, hash_int(name)]
        return Crops(
            self.data.train,
            stage.crop,
            stage.batch,
            recipe.scale,
            seed,
            rows,
            self.replay,
            uses_teacher(stage),
            self.data.check_unchanged,
        )

    def build(self, name: str) -> State:
        """A stage's players, around the networks as they are by then."""
        recipe = self.recipe
        return build_state(
            self.fabric,
            self.stages[name],
            self.networks,
            self.former,
            self.teachers,
            recipe.seed,
            compile=recipe.compile,
            accumulate=recipe.accumulate,
            clip=recipe.clip,
        )

    def rehearse(self, name: str) -> None:
        """Checks a stage's losses, on copies, so that a fault in the last stage does not show only after
        hours of the first."""
        networks, teachers = copy.deepcopy((self.networks, self.teachers))
        state = build_state(
            self.fabric, self.stages[name], networks, {}, teachers, self.recipe.seed, bare=True
        )
        check_gradients(state, *self.parts(state, name, 0, self.crops(name)(0))[0])

    def parts(self, state: State, name: str, step: int, batch: Batch) -> list[Part]:
        """A batch on the device, in the parts that the recipe asks for."""
        lr, hr, *targets = (
            to_tensor(state.fabric, images) for images in (batch.lr, batch.hr, *batch.targets)
        )
        if self.recipe.degradation == "real":
            lr = _degrade(hr, self.recipe, name, step, state.fabric.global_rank)
        cut = [images.chunk(state.accumulate) for images in (lr, hr, *targets)]
        return [(lr, hr, tuple(rest)) for lr, hr, *rest in zip(*cut, strict=True)]


def run(recipe: Recipe, resume: bool = False, allow_changes: bool = False) -> Run:
    """Trains what a recipe says.

    Args:
        recipe: the run's arguments.
        resume: go on from the newest checkpoint in `recipe.out`; without one there, begin.
        allow_changes: go on although the recipe is not the one that the run was begun with.

    Returns:
        The weights after each stage.

    Raises:
        UsageError: the recipe cannot be carried out as it stands; nothing was trained.
        SrkdError: training failed; earlier checkpoints are intact.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving a checkpoint.
    """
    stages = resolve(recipe)
    fabric = make_fabric(recipe)
    fabric.launch()
    console.quiet = not fabric.is_global_zero
    folder = Path(recipe.out)
    try:
        with contextlib.ExitStack() as stack:
            _on_first(fabric, lambda: stack.enter_context(_occupied(folder, resume)))
            saved = load_newest(folder) if resume else None
            if saved:
                check_same_recipe(folder, saved["recipe"], asdict(recipe), allow_changes)
                if saved["stage"] not in stages:
                    raise UsageError(
                        f"the run in {folder} is in its stage '{saved['stage']}', which this recipe has not; "
                        "restore the stage, or give another --out"
                    )
            job = open_job(recipe, stages, fabric)
            if saved and saved["data"] != job.data.identity and not allow_changes:
                raise UsageError(
                    f"the images in {recipe.data} are not those that the run in {folder} was begun with; "
                    "restore them, or go on all the same with --allow_changes"
                )
            return _train(job, saved)
    except RuntimeError as error:
        if fabric.world_size > 1 and any(word in str(error).lower() for word in ("gloo", "nccl", "by peer")):
            raise SrkdError(
                f"another process of this run died ({str(error).splitlines()[0]}); earlier checkpoints are "
                "intact: go on with --resume"
            ) from error
        raise
    finally:
        console.quiet = False


def resolve(recipe: Recipe) -> dict[str, Stage]:
    """A recipe's stages, checked. Raises UsageError where they cannot be."""
    stages = recipe.resolve()
    for name, stage in stages.items():
        check_stage(stage)
        copies = sum(critic.copies for critic in stage.critics.values())
        if stage.mutual is not None and recipe.members * copies < 2:
            raise UsageError("a cohort needs two discriminators: raise --members or --critics")
        if stage.crop % recipe.scale:
            raise UsageError(
                f"stage {name}: a crop of {stage.crop} is not a multiple of the scale {recipe.scale}"
            )
    return stages


def open_job(recipe: Recipe, stages: dict[str, Stage], fabric: Fabric) -> Job:
    """Loads networks, teacher and data."""
    torch.manual_seed(recipe.seed)
    networks = [_start(recipe, index) for index in range(recipe.members)]
    smallest = max(stage.crop for stage in stages.values())
    teachers, digests, taught_by = _teachers(recipe, stages)
    data = open_data(recipe.data, recipe.scale, recipe.val, smallest, recipe.skip_bad, digests)
    if recipe.degradation == "real":
        data = degrade_validation(data, recipe)
    replay: list[Pair] = []
    if recipe.replay is not None:
        replay = open_data(recipe.replay, recipe.scale, None, smallest, recipe.skip_bad).train
    if taught_by is not None:
        stored = bool(data.train[0].targets)
        console.print(f"teacher: {taught_by}" + (" (stored outputs)" if stored else ""))
        # Those whose outputs are stored are not needed, but for a discriminator.
        loaded = teachers(stored)
        for teacher in loaded:
            teacher.to(fabric.device)
    else:
        loaded = []
    log = RunLog(Path(recipe.out), recipe.strategy, fabric.is_global_zero, recipe.tensorboard)
    return Job(recipe, stages, fabric, networks, loaded, taught_by, data, replay, log)


def _train(job: Job, saved: dict[str, Any] | None) -> Run:
    """The stages that are left, one after another."""
    recipe, folder = job.recipe, job.folder
    if not saved:
        for name in job.stages:
            job.rehearse(name)
    else:
        job.former, job.psnr, job.best = _load_critics(saved["former"]), saved["psnr"], saved["best"]
        job.seconds = saved["seconds"]
    if job.fabric.is_global_zero:
        write_text(folder / "recipe.yaml", recipe.to_yaml())
    job.log.begin(*((saved["stage"], saved["step"]) if saved else ()))
    result = Run(folder, psnr=job.psnr)
    begun = not saved
    bicubic = bicubic_psnr(job.data.val, recipe.scale)
    try:
        for name in job.stages:
            result.weights[name] = _weights_path(folder, name, 0, recipe.members)
            if not begun and name != (saved or {})["stage"]:
                continue
            state = job.build(name)
            first, retries = 0, 0
            if saved and not begun:
                _restore(state, saved)
                first, retries, begun = saved["step"], saved["retries"], True
                console.print(f"resuming {name} at step {first}")
            job.psnr[name] = _Loop(job, name, state, first, retries, Watch(name, bicubic)).run()
            _finish(job, name, state)
            console.print(
                f"{name}: {job.psnr[name]:.2f} dB on {len(job.data.val)} validation images "
                f"(bicubic {bicubic:.2f}) -> {result.weights[name]}"
            )
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(SrkdError):
            job.log.update(state="stopped" if stopped else "failed", error=None if stopped else str(error))
        raise
    # In this order: a run that is killed in between is finished, and does not begin anew.
    job.log.update(state="finished", seconds=round(job.seconds, 3), memory=peak_memory(job.fabric))
    if job.fabric.is_global_zero:
        for path in list_checkpoints(folder):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (folder / FOLDER).rmdir()
    return result


def _finish(job: Job, name: str, state: State) -> None:
    """Saves a stage's result, and makes it the next stage's start: the averaged weights."""
    for index, member in enumerate(state.members):
        member.network.load_state_dict(member.average.module.state_dict())
        path = _weights_path(job.folder, name, index, job.recipe.members)
        if job.fabric.is_global_zero:
            _save(member, path, {**_facts(job, name), "psnr": job.psnr[name]})
        for key, copies in member.critics.items():
            job.former |= {(index, key, number): critic.network for number, critic in enumerate(copies)}


def _save(member: Member, path: Path, facts: dict[str, Any]) -> None:
    """Writes a member's generator, and beside it its discriminators: `<stem>_discriminator.safetensors` for
    the first critic of HR, the others with their name and number behind."""
    save_module("generator", member.network, path, **facts)
    for key, copies in member.critics.items():
        for number, critic in enumerate(copies):
            extra = "" if (key, number) == ("hr", 0) else f"_{key}_{number}"
            beside = path.with_name(f"{path.stem}_discriminator{extra}.safetensors")
            save_module("discriminator", critic.network, beside, **facts)


class _Loop:
    """The steps of one stage."""

    def __init__(self, job: Job, name: str, state: State, first: int, retries: int, watch: Watch):
        self.job, self.name, self.state, self.watch = job, name, state, watch
        self.stage, self.step = state.stage, first
        self.often = max(1, min(LOG_EVERY, self.stage.steps // 40))
        # Speed is that of this process, and without the time of validations.
        self.done, self.spent = 0, 0.0
        # The best weights since the last checkpoint, with their path and facts.
        self.better: list[tuple[Path, nn.Module, dict[str, Any]]] = []
        # What to go back to when a step is not finite.
        self.good = (first, copy.deepcopy(state.state_dict()), dict(job.best))
        self.retries = retries

    def run(self) -> float:
        """Trains to the stage's end; returns the last validation PSNR."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        shown = console.is_terminal and not console.quiet
        with (
            stopping() as stop,
            Progress(*columns, console=console, transient=True, disable=not shown) as self.progress,
        ):
            self.bar = self.progress.add_task(self.name, total=self.stage.steps, completed=self.step, note="")
            self.psnr = float("nan")
            self.job.log.update(
                stage=self.name,
                step=self.step,
                steps=self.stage.steps,
                psnr=dict(self.job.psnr),
                best=dict(self.job.best),
            )
            while self.step < self.stage.steps:
                try:
                    self._stretch(stop)
                except NotFinite as error:
                    self._go_back(error)
            score = self._assess()
            self._save_best()
            return score

    def _stretch(self, stop: threading.Event) -> None:
        """Steps until the stage ends or one is not finite."""
        job, state, recipe = self.job, self.state, self.job.recipe
        for batch in job.crops(self.name).stream(self.step, self.stage.steps):
            began = time.perf_counter()
            self.batch = batch
            # Random numbers depend on the step alone, so there is no generator's state to keep.
            torch.manual_seed(hash_int(f"{recipe.seed}/{self.name}/{self.step}/{state.fabric.global_rank}"))
            parts = job.parts(state, self.name, self.step, batch)
            state.set_rates(self.step)
            values = train_step(state, parts, term_weights(self.stage, self.step))
            self.step += 1
            spent = time.perf_counter() - began
            self.done, self.spent, job.seconds = self.done + 1, self.spent + spent, job.seconds + spent
            if self.step % self.often == 0 or self.step == self.stage.steps:
                self._report(values)
            if self.step % recipe.validate_every == 0 and self.step < self.stage.steps:
                self._assess()
            stopped = state.fabric.strategy.reduce_boolean_decision(stop.is_set(), all=False)
            if stopped or (self.step % recipe.save_every == 0 and self.step < self.stage.steps):
                self._checkpoint()
            if stopped:
                console.print(f"stopped at step {self.step} of {self.name}; --resume goes on from there")
                raise KeyboardInterrupt

    def _go_back(self, error: NotFinite) -> None:
        """To the last good state with half the rate; fails when that was tried often enough."""
        job, at = self.job, self.step
        for optimizer in self.state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if self.retries >= job.recipe.retries:
            where = job.folder / "failed_batch.safetensors"
            if job.fabric.is_global_zero:
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
        console.print(f"[yellow]warning, {self.name}:[/] {message}")
        job.log.note(self.name, at, message)

    def _report(self, values: dict[str, Tensor]) -> None:
        """Logs and shows a step's losses."""
        numbers = {key: float(value) for key, value in values.items()}
        self.watch.losses(self.step, numbers)
        speed = self.done / max(self.spent, 1e-9)
        rates = {
            f"{player}_{k}" if k else player: float(f"{group['lr']:.4g}")
            for player, optimizer in self.state.optimizers.items()
            for k, group in enumerate(optimizer.param_groups)
        }
        self.job.log.losses(self.name, self.step, numbers, rates, speed)
        losses = " ".join(f"{key} {value:.3g}" for key, value in numbers.items())
        score = "" if math.isnan(self.psnr) else f"{self.psnr:.2f} dB "
        note = f"{speed:.2g} step/s {score}rate {rates['generators']:.1e} {losses}"
        self.progress.update(self.bar, completed=self.step, note=note)

    def _assess(self) -> float:
        """Validates every member; holds the best weights so far. Returns the mean PSNR."""
        job = self.job
        if job.fabric.is_global_zero:
            found = [
                validate(m.average.module, job.data.val, job.recipe.scale, job.fabric)
                for m in self.state.members
            ]
            scores = [score for score, _ in found]
            self.psnr = float(np.mean(scores))
            job.log.scores(self.name, self.step, scores, found[0][1])
            self.watch.validation(self.step, self.psnr)
            loudest = [largest_on_noise(m.average.module, job.fabric) for m in self.state.members]
            self.watch.noise(self.step, max(loudest))
            if self.psnr > job.best.get(self.name, -math.inf):
                job.best[self.name] = self.psnr
                facts = {**_facts(job, self.name), "steps": self.step, "psnr": self.psnr}
                self.better = [
                    (
                        _weights_path(job.folder, f"{self.name}_best", index, job.recipe.members),
                        copy.deepcopy(member.average.module),
                        facts,
                    )
                    for index, member in enumerate(self.state.members)
                ]
            job.log.update(
                step=self.step, psnr={**job.psnr, self.name: round(self.psnr, 4)}, best=dict(job.best)
            )
            left = (self.stage.steps - self.step) * self.spent / max(self.done, 1)
            self.progress.console.print(
                f"{self.name} {self.step}/{self.stage.steps}: "
                f"{', '.join(f'{score:.2f}' for score in scores)} dB, {_duration(left)} left"
            )
        self.psnr = float(job.fabric.broadcast(self.psnr))
        return self.psnr

    def _save_best(self) -> None:
        """Writes the best weights, no sooner than what leads up to them is safe from a step back."""
        for path, module, facts in self.better:
            save_module("generator", module, path, **facts)
        self.better = []

    def _checkpoint(self) -> None:
        job = self.job
        self._save_best()
        content = {
            "recipe": asdict(job.recipe),
            "data": job.data.identity,
            "stage": self.name,
            "step": self.step,
            "state": self.state.state_dict(),
            "former": _dump_critics(job.former),
            "psnr": job.psnr,
            "best": job.best,
            "retries": self.retries,
            "seconds": job.seconds,
        }
        self.good = (self.step, copy.deepcopy(content["state"]), dict(job.best))
        if job.fabric.is_global_zero:
            save_checkpoint(job.folder, list(job.stages).index(self.name), content, job.recipe.keep)
            job.log.update(step=self.step)


def _restore(state: State, saved: dict[str, Any]) -> None:
    """Puts a checkpoint's state in place."""
    try:
        state.load_state_dict(saved["state"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise UsageError(
            f"the checkpoint does not fit the recipe's networks or losses: {str(error).splitlines()[0]}"
        ) from error


@torch.no_grad()
def validate(
    generator: nn.Module, pairs: list[Pair], scale: int, fabric: Fabric, strips: int = 4
) -> tuple[float, list[np.ndarray]]:
    """Mean luma PSNR in dB over whole images, in full precision; infinite scores count as 100.

    Returns:
        The score, and of the first images the middle as bicubic, SR and HR side by side, uint8.
    """
    training = generator.training
    generator.eval()
    scores, pictures = [], []
    for pair in pairs:
        sr = generator(to_tensor(fabric, pair.lr[None]))
        image = (sr[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        scores.append(min(metrics.psnr(image, pair.hr, metrics.protocol_name("y-crop", scale)), 100.0))
        if len(pictures) < strips:
            top, left = (max(side - 128, 0) // 2 for side in image.shape[:2])
            trio = (resample.upscale_bicubic(pair.lr, scale), image, pair.hr)
            pictures.append(np.hstack([im[top : top + 128, left : left + 128] for im in trio]))
    generator.train(training)
    return float(np.mean(scores)), pictures


@torch.no_grad()
def largest_on_noise(generator: nn.Module, fabric: Fabric) -> float:
    """The largest absolute value that a generator makes of black and white noise in three channels."""
    noise = np.random.default_rng(0).integers(0, 2, (1, 48, 48, 3), np.uint8) * np.uint8(255)
    training = generator.training
    generator.eval()
    largest = float(generator(to_tensor(fabric, noise)).abs().max())
    generator.train(training)
    return largest


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Turns Ctrl-C and SIGTERM into an event, so that a step is never cut in two.

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
    old = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def to_tensor(fabric: Fabric, images: np.ndarray) -> Tensor:
    """Images `(N, H, W, 3)`, uint8 or float16 with 1 for white, to a float tensor `(N, 3, H, W)` in [0, 1],
    channels last in memory."""
    image = torch.from_numpy(np.require(images, requirements="W")).to(fabric.device, non_blocking=True)
    image = image.permute(0, 3, 1, 2).float()
    return image / 255 if images.dtype == np.uint8 else image


def peak_memory(fabric: Fabric) -> int:
    """The most memory that this process has held so far, in bytes: the GPU's, or the process's own."""
    if fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated(fabric.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def make_fabric(recipe: Recipe) -> Fabric:
    """Places a run on its devices."""
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    # Buffers are batch statistics here, which the discriminators' two passes must not overwrite.
    alone = recipe.devices * recipe.nodes == 1
    try:
        return Fabric(
            accelerator=recipe.device,
            devices=recipe.devices,
            num_nodes=recipe.nodes,
            strategy="auto" if alone else DDPStrategy(forward_sync_buffers=False, timeout=_HANG),
            precision=recipe.precision,  # type: ignore[arg-type]
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"cannot train on {recipe.device} in {recipe.precision}: {error}") from error
    except Exception as error:  # Fabric's own class for a missing accelerator derives from Exception alone
        raise UsageError(f"cannot train on {recipe.device}: {error}") from error


def _on_first(fabric: Fabric, action: Any) -> None:
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
def _occupied(folder: Path, resume: bool) -> Iterator[None]:
    """Makes a run folder this run's own for as long as it lasts."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give --out a folder")
    begun = (folder / "recipe.yaml").exists()
    if begun and not resume:
        raise UsageError(f"{folder} already holds a run; go on with --resume, or give another --out")
    lock = FileLock(folder / LOCK, timeout=0)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UsageError(f"another process is training in {folder}") from None
    except OSError as error:
        raise SrkdError(f"cannot write into {folder}: {error.strerror}; choose another --out") from error
    with lock:
        try:
            if begun and read_state(folder) == "finished":
                raise UsageError(f"the run in {folder} is finished; give another --out")
            if begun and not list_checkpoints(folder):
                console.print(f"the run in {folder} never got to a checkpoint; it begins anew")
            yield
        finally:
            # What was refused before its first step leaves no trace.
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                with contextlib.suppress(OSError):
                    for path in made or [folder]:
                        path.rmdir()


def _start(recipe: Recipe, index: int) -> nn.Module:
    """A member's generator with its initial weights, of its own seed or from `recipe.start`."""
    torch.manual_seed(hash_int(f"{recipe.seed}/generator/{index}"))
    if recipe.start is None:
        return create_generator(recipe.model or DEFAULT_MODEL, recipe.scale, **recipe.model_options)
    started = load_generator(recipe.start)
    if recipe.model is None and started.config is None:
        raise UsageError(f"{recipe.start} is not of this package; name its architecture with --model")
    if recipe.model is None:
        if started.scale != recipe.scale:
            raise UsageError(f"{recipe.start} is x{started.scale}; give --scale {started.scale}")
        return started
    network = create_generator(recipe.model, recipe.scale, **recipe.model_options)
    if not copy_weights(started, network, recipe.start, fresh=network.tail_name):
        console.print(
            f"{recipe.start} has another tail than {recipe.model}, whose own begins anew", markup=False
        )
    return network


def _teachers(
    recipe: Recipe, stages: dict[str, Stage]
) -> tuple[Callable[[bool], list[Teacher]], list[str], str | None]:
    """A function that loads the teachers, given whether their outputs are stored; the hashes by which stored
    outputs may serve (none where they cannot); and the teachers' names."""
    users = [stage for stage in stages.values() if uses_teacher(stage)]
    if not users:
        return lambda _stored: [], [], None
    kind = STRATEGIES[recipe.strategy].teacher
    needs_discriminator = any(uses_discriminator(stage) for stage in users)
    paths = find_teachers(recipe.teachers, kind or "psnr")

    def load(stored: bool) -> list[Teacher]:
        if stored and not needs_discriminator:
            return []
        return load_teachers(paths, recipe.teacher_discriminator, kind, recipe.scale, needs_discriminator)

    live = any(map(looks_inside, users)) or recipe.degradation != "none" or recipe.replay is not None
    return load, [] if live else [file_hash(path) for path in paths], " + ".join(map(name_by_hash, paths))


def _degrade(hr: Tensor, recipe: Recipe, *parts: Any) -> Tensor:
    from srkd.data.degrade import degrade

    return degrade(
        hr, recipe.scale, np.random.default_rng(hash_int("/".join(map(str, (recipe.seed, *parts)))))
    )


def degrade_validation(data: DataSet, recipe: Recipe) -> DataSet:
    """Validation images with LR made as training's are, the same in every run."""
    pairs = []
    for pair in data.val:
        hr = torch.from_numpy(pair.hr.copy()).permute(2, 0, 1)[None].float() / 255
        lr = _degrade(hr, Recipe(recipe.data, recipe.strategy, scale=recipe.scale), pair.name)
        pairs.append(
            Pair(pair.name, (lr[0] * 255).round().byte().permute(1, 2, 0).numpy(), pair.hr, pair.sha256)
        )
    return DataSet(data.train, pairs, data.watched)


def _facts(job: Job, name: str) -> dict[str, Any]:
    """What saved weights say of themselves; no paths, since files travel."""
    stage = job.stages[name]
    so_far = list(job.stages.values())[: list(job.stages).index(name) + 1]
    objective = "gan" if stage.critics else "perceptual" if "perceptual" in stage.losses else "psnr"
    return {
        "strategy": job.recipe.strategy,
        "stage": name,
        "steps": stage.steps,
        "objective": objective,
        "control": job.recipe.control,
        "kd_replaces": stage.kd_replaces,
        "seed": job.recipe.seed,
        # Of earlier stages too: fine-tuning has no teacher, and its student was distilled all the same.
        "teacher": job.taught_by if any(map(uses_teacher, so_far)) else None,
        "degradation": job.recipe.degradation,
        "license": "Apache-2.0",
    }


def _weights_path(folder: Path, stage: str, index: int, members: int) -> Path:
    return folder / (f"{stage}.safetensors" if members == 1 else f"{stage}_{index}.safetensors")


def _dump_critics(critics: Critics) -> list[dict[str, Any]]:
    return [{"key": list(key), "config": c.config, "weights": c.state_dict()} for key, c in critics.items()]


def _load_critics(saved: list[dict[str, Any]]) -> Critics:
    critics = {}
    for entry in saved:
        critic = create_discriminator(**entry["config"])
        critic.load_state_dict(entry["weights"])
        critics[tuple(entry["key"])] = critic
    return critics


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
