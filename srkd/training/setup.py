"""A run set up: its folder, devices, starting networks, teachers and data."""

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from srkd.config import Stage
from srkd.data import Batch, Crops, DataSet, Pair, open_data
from srkd.errors import SrkdError, UsageError
from srkd.files import hash_file, name_by_hash
from srkd.models import create_generator
from srkd.models.base import Discriminator, Generator
from srkd.models.cost import count_parameters
from srkd.models.resizing import can_resize, resize, tails_differ
from srkd.recipe import Recipe
from srkd.strategies import DEFAULT_MODEL, STRATEGIES
from srkd.terminal import note, say, silence
from srkd.training.checkpoints import list_checkpoints
from srkd.training.feeding import cut, to_device
from srkd.training.gradients import check_gradients
from srkd.training.logs import LOCK, STOP, RunLog, read_state
from srkd.training.requirements import runs_teacher, uses_discriminator, uses_teacher
from srkd.training.seeds import derive_seed, hash_int
from srkd.training.state import State, build_state
from srkd.training.step import Part
from srkd.training.teachers import Teacher, find_teachers, load_teachers
from srkd.training.validation import degrade_validation
from srkd.weights.store import copy_weights, load_generator, load_own_generator

_HANG = timedelta(minutes=30)  # how long processes wait for one another, validation included


@dataclass
class Job:
    """A run's parts that all its stages share.

    Args:
        networks: the members' generators.
        teachers: those that run; none where their stored outputs do.
        taught_by: the teachers' names.
        replay: images to train on besides.
        seconds: spent in steps.
        memory: the most memory seen so far, in bytes.
        former: discriminators of the stages so far by (member, critic, copy).
        psnr, best: last and best validation PSNR by stage.
    """

    recipe: Recipe
    stages: dict[str, Stage]
    fabric: Fabric
    networks: list[Generator]
    teachers: list[Teacher]
    taught_by: str | None
    data: DataSet
    replay: list[Pair]
    log: RunLog
    seconds: float = 0.0
    memory: int = 0
    former: dict[tuple[int, str, int], Discriminator] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return Path(self.recipe.out)

    @property
    def stop_file(self) -> Path:
        return self.folder / STOP

    def crops(self, name: str) -> Crops:
        """A stage's batches: of each, the rows that this process works on."""
        stage, recipe = self.stages[name], self.recipe
        share = stage.batch // self.fabric.world_size
        first = self.fabric.global_rank * share
        return Crops(
            self.data.train,
            stage.crop,
            stage.batch,
            recipe.scale,
            [recipe.seed, hash_int(name)],
            range(first, first + share),
            self.replay,
            uses_teacher(stage),
            self.data.check_unchanged,
            recipe.mix,
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
        check_gradients(state, *self.parts(state, self.crops(name)(0))[0])

    def parts(self, state: State, batch: Batch) -> list[Part]:
        """A batch on the device, in the parts that the recipe asks for."""
        return cut(to_device(batch, state.fabric.device), state.accumulate)


def open_job(recipe: Recipe, stages: dict[str, Stage], fabric: Fabric) -> Job:
    """Loads networks, teachers and data.

    Raises:
        SrkdError, UsageError: one of them is missing, damaged or does not fit.
    """
    torch.manual_seed(recipe.seed)
    networks = [start_network(recipe, index) for index in range(recipe.members)]
    smallest = max(stage.crop for stage in stages.values())
    load, hashes, taught_by = _plan_teachers(recipe, stages)
    data = open_data(recipe.data, recipe.scale, recipe.val, smallest, recipe.skip_bad, hashes)
    if recipe.mix is not None and data.degradation is not None:
        raise UsageError(
            f"{recipe.data} was packed with a degradation, and this recipe degrades LR too; leave out "
            "--degradation, or pack without"
        )
    if recipe.mix is not None:
        data = degrade_validation(data, recipe.mix)
    replay: list[Pair] = []
    if recipe.replay is not None:
        replay = open_data(recipe.replay, recipe.scale, None, smallest, recipe.skip_bad).train
    stored = bool(data.train[0].targets)
    if taught_by is not None:
        say(f"teacher: {taught_by}" + (" (stored outputs)" if stored else ""))
    teachers = load(stored)
    for teacher in teachers:
        teacher.to(fabric.device)
    log = RunLog(Path(recipe.out), recipe.strategy, fabric.is_global_zero, recipe.tensorboard)
    return Job(recipe, stages, fabric, networks, teachers, taught_by, data, replay, log)


def make_fabric(recipe: Recipe) -> Fabric:
    """Places a run on its devices, and gives it its CPU threads.

    Raises:
        UsageError: the device or the precision cannot be had.
    """
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    alone = recipe.devices * recipe.nodes == 1
    accelerator, _, number = recipe.device.partition(":")
    strategy = "auto" if alone else DDPStrategy(timeout=_HANG, **_keep_buffers())
    try:
        return Fabric(
            accelerator=accelerator,
            devices=[int(number)] if number else recipe.devices,
            num_nodes=recipe.nodes,
            strategy=strategy,
            precision=recipe.precision,  # type: ignore[arg-type]  # any text; Fabric refuses unknown ones
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"cannot train on {recipe.device} in {recipe.precision}: {error}") from error
    except Exception as error:  # Fabric's own class for a missing accelerator derives from Exception alone
        raise UsageError(f"cannot train on {recipe.device}: {error}") from error


@contextlib.contextmanager
def launched(recipe: Recipe) -> Iterator[Fabric]:
    """A run's processes: only the first one prints, and torch has as many threads afterwards as before.

    Raises:
        UsageError: the device or the precision cannot be had.
    """
    threads = torch.get_num_threads()
    alone = recipe.devices * recipe.nodes == 1
    try:
        fabric = make_fabric(recipe)
        fabric.launch()
        with contextlib.nullcontext() if fabric.is_global_zero else silence():
            yield fabric
    finally:
        # Left to the end of the process, gloo's threads now and then abort it.
        if not alone and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def _keep_buffers() -> dict[str, Any]:
    """The option by which DDP sends no buffers, which releases of torch name differently. Buffers are batch
    statistics here, which the discriminators' two passes must not overwrite."""
    known = inspect.signature(DistributedDataParallel).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


@contextlib.contextmanager
def lock_run(folder: Path, resume: bool) -> Iterator[None]:
    """Makes a run folder this run's own for as long as it lasts.

    Raises:
        UsageError: it holds another run, or another process is training in it.
        SrkdError: it cannot be written.
    """
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give --out a folder")
    exists = (folder / "recipe.yaml").exists()
    if exists and not resume:
        raise UsageError(f"{folder} already holds a run; continue it with --resume, or give another --out")
    lock = FileLock(folder / LOCK, timeout=0)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UsageError(f"another process is training in {folder}") from None
    except OSError as error:
        raise SrkdError(f"cannot write into {folder}: {error.strerror}; choose another --out") from error
    try:
        # A request to stop was for a process that is gone.
        (folder / STOP).unlink(missing_ok=True)
        if exists and not list_checkpoints(folder) and read_state(folder) == "finished":
            raise UsageError(
                f"the run in {folder} is finished, and its last checkpoint is gone; start from its weights "
                "(--start), or give another --out"
            )
        if exists and not list_checkpoints(folder):
            say(f"the run in {folder} never got to a checkpoint; it restarts")
        yield
    finally:
        lock.release()
        # What was refused before its first step leaves no trace.
        if {path.name for path in folder.iterdir()} <= {LOCK, STOP}:
            with contextlib.suppress(OSError):
                for name in (LOCK, STOP):
                    (folder / name).unlink(missing_ok=True)
                for path in made or [folder]:
                    path.rmdir()


def start_network(recipe: Recipe, index: int) -> Generator:
    """A member's generator with its initial weights, of its own seed or from `recipe.start`."""
    torch.manual_seed(derive_seed(recipe.seed, "generator", index))
    model = recipe.model or STRATEGIES[recipe.strategy].model or DEFAULT_MODEL
    if recipe.start is None:
        return create_generator(model, recipe.scale, **recipe.model_options)
    if recipe.model is None:
        started = load_own_generator(recipe.start)
        if started.scale != recipe.scale:
            raise UsageError(f"{recipe.start} is x{started.scale}; give --scale {started.scale}")
        return started
    network = create_generator(model, recipe.scale, **recipe.model_options)
    source = load_generator(recipe.start)
    try:
        whole = copy_weights(source, network, recipe.start, fresh=network.tail_name)
    except UsageError:
        if not can_resize(source, network):
            raise
        resize(source, network)
        fresh = ", whose other tail starts with fresh weights" if tails_differ(source, network) else ""
        note(
            f"the {count_parameters(source):,} parameters of {recipe.start} are resized to the "
            f"{count_parameters(network):,} of {model}{fresh}"
        )
        return network
    if not whole:
        note(f"{recipe.start} has another tail than {model}, which starts with fresh weights there")
    return network


def _plan_teachers(
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
        # With stored outputs, teachers are loaded for their discriminator alone.
        if stored and not needs_discriminator:
            return []
        return load_teachers(paths, recipe.teacher_discriminator, kind, recipe.scale, needs_discriminator)

    live = any(map(runs_teacher, users)) or recipe.mix is not None or recipe.replay is not None
    hashes = [] if live else [hash_file(path, 16) for path in paths]
    return load, hashes, " + ".join(map(name_by_hash, paths))
