"""A run from first to last stage: data, the loop, validation, checkpoints, and the weights it leaves."""

import contextlib
import copy
import io
import json
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from srkd import metrics
from srkd.data import Crops, Pair, find_pairs, hold_out, load_pairs
from srkd.errors import SrkdError, UsageError
from srkd.files import console, replacing, write_text
from srkd.models import create_discriminator, create_generator
from srkd.strategies import STRATEGIES, Stage
from srkd.teachers import Teacher, load_teacher
from srkd.training import Run
from srkd.training.check import check_gradients
from srkd.training.recipe import Recipe
from srkd.training.state import (
    Member,
    State,
    build_state,
    check_finite,
    check_stage,
    hash_int,
    term_weights,
    uses_discriminator,
    uses_teacher,
)
from srkd.training.step import train_step
from srkd.weights import copy_weights, load_generator, save_module

CHECKPOINT = "checkpoint.pt"
DEFAULT_MODEL = "srgan_student_lite"
LOG_EVERY = 20  # steps; more often in stages too short for a curve of that


def run(recipe: Recipe, resume: bool = False) -> Run:
    """Trains what a recipe says.

    Args:
        recipe: the run's arguments.
        resume: go on from the checkpoint in `recipe.out`; without one there, begin.

    Returns:
        The weights after each stage.

    Raises:
        UsageError: the recipe cannot be carried out as it stands; nothing was trained.
        SrkdError: training failed; the last checkpoint is intact.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM, after saving a checkpoint.
    """
    stages = recipe.resolve()
    for stage in stages.values():
        check_stage(stage)
    folder = Path(recipe.out)
    saved = _open_folder(folder, recipe, resume)
    fabric = _fabric(recipe)
    torch.manual_seed(recipe.seed)
    networks = [_start(recipe, index) for index in range(recipe.members)]
    teacher = _teacher(recipe, stages)
    train_pairs, val_pairs = _data(recipe, stages)
    if teacher is not None:
        teacher.to(fabric.device)
        console.print(f"teacher: {teacher.name}")
    samples = {
        name: Crops(train_pairs, stage.crop, stage.batch, recipe.scale, [recipe.seed, hash_int(name)])
        for name, stage in stages.items()
    }
    if not saved:
        # Every stage, so that a fault in the last does not show only after hours of the first.
        for name, stage in stages.items():
            copies, guide = copy.deepcopy((networks, teacher))
            rehearsal = build_state(fabric, stage, copies, {}, guide, recipe.seed)
            check_gradients(rehearsal, *_tensors(fabric, *samples[name](0)))
    write_text(folder / "recipe.yaml", recipe.to_yaml())

    result = Run(folder)
    former: dict[tuple[int, str, int], nn.Module] = {}
    if saved:
        former = _load_critics(saved["former"])
        result.psnr.update(saved["psnr"])
    begun = not saved
    for name, stage in stages.items():
        result.weights[name] = _weights_path(folder, name, 0, recipe.members)
        if not begun and name != saved["stage"]:
            continue
        state = build_state(fabric, stage, networks, former, teacher, recipe.seed)
        first = 0
        if not begun:
            state.load_state_dict(saved["state"])
            first, begun = saved["step"], True
            console.print(f"resuming {name} at step {first}")

        def checkpoint(step: int, state: State = state, name: str = name) -> None:
            content = {
                "recipe": asdict(recipe),
                "stage": name,
                "step": step,
                "state": state.state_dict(),
                "former": _dump_critics(former),
                "psnr": result.psnr,
            }
            # Through memory, where writing cannot fail half-way; the file then fails as any file does.
            buffer = io.BytesIO()
            torch.save(content, buffer)
            with replacing(folder / CHECKPOINT) as temporary:
                temporary.write_bytes(buffer.getbuffer())

        result.psnr[name] = _loop(recipe, name, state, samples[name], val_pairs, first, checkpoint)
        facts = {**_facts(recipe, name, stage, teacher), "psnr": result.psnr[name]}
        for index, member in enumerate(state.members):
            # The average is the stage's result, and where the next stage starts.
            member.network.load_state_dict(member.average.module.state_dict())
            _save(member, _weights_path(folder, name, index, recipe.members), facts)
            former.update(
                ((index, key, number), critic.network)
                for key, copies in member.critics.items()
                for number, critic in enumerate(copies)
            )
        console.print(
            f"{name}: {result.psnr[name]:.2f} dB on {len(val_pairs)} validation images "
            f"-> {result.weights[name]}"
        )
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def _save(member: Member, path: Path, facts: dict[str, Any]) -> None:
    """Writes a member's generator, and beside it its discriminators: `<stem>_discriminator.safetensors` for
    the first critic of HR, the others with their name and number behind."""
    save_module("generator", member.network, path, **facts)
    for key, copies in member.critics.items():
        for number, critic in enumerate(copies):
            extra = "" if (key, number) == ("hr", 0) else f"_{key}_{number}"
            beside = path.with_name(f"{path.stem}_discriminator{extra}.safetensors")
            save_module("discriminator", critic.network, beside, **facts)


def _loop(
    recipe: Recipe, name: str, state: State, crops: Crops, val: list[Pair], first: int, checkpoint: Any
) -> float:
    """A stage's steps; returns the last validation PSNR."""
    stage, fabric = state.stage, state.fabric
    log = Path(recipe.out) / "log.jsonl"

    def assess(done: int) -> float:
        scores = [validate(member.average.module, val, recipe.scale, fabric) for member in state.members]
        _append(log, {"stage": name, "step": done, "psnr": [round(score, 4) for score in scores]})
        remaining = (stage.steps - done) * (time.monotonic() - began) / max(done - first, 1)
        progress.console.print(
            f"{name} {done}/{stage.steps}: {', '.join(f'{score:.2f}' for score in scores)} dB, "
            f"{remaining / 60:.1f} min left"
        )
        return float(np.mean(scores))

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    often = max(1, min(LOG_EVERY, stage.steps // 40))
    began = time.monotonic()
    with (
        stopping() as stop,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task(name, total=stage.steps, completed=first, note="")
        for step in range(first, stage.steps):
            lr, hr = _tensors(fabric, *crops(step))
            state.set_rates(step)
            parts = train_step(state, lr, hr, term_weights(stage, step))
            done = step + 1
            if done % often == 0 or done == stage.steps:
                check_finite(parts, step)
                values = {key: round(float(value), 6) for key, value in parts.items()}
                rate = (done - first) / (time.monotonic() - began)
                _append(
                    log, {"stage": name, "step": done, "losses": values, "steps_per_second": round(rate, 2)}
                )
                note = " ".join(f"{key} {value:.3g}" for key, value in values.items())
                progress.update(task, completed=done, note=f"{rate:.1f} step/s {note}")
            if done % recipe.validate_every == 0 and done < stage.steps:
                assess(done)
            if stop.is_set() or done % recipe.save_every == 0:
                check_finite(parts, step)
                checkpoint(done)
            if stop.is_set():
                console.print(f"stopped at step {done} of {name}; --resume goes on from there")
                raise KeyboardInterrupt
        return assess(stage.steps)


@torch.no_grad()
def validate(generator: nn.Module, pairs: list[Pair], scale: int, fabric: Fabric) -> float:
    """Mean luma PSNR in dB over whole images; infinite scores count as 100."""
    training = generator.training
    generator.eval()
    scores = []
    for pair in pairs:
        lr, _ = _tensors(fabric, pair.lr[None], pair.hr[None, :1, :1])
        with fabric.autocast():
            sr = generator(lr)
        image = (sr[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        scores.append(min(metrics.psnr(image, pair.hr, metrics.protocol_name("y-crop", scale)), 100.0))
    generator.train(training)
    return float(np.mean(scores))


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


def _tensors(fabric: Fabric, lr: np.ndarray, hr: np.ndarray) -> tuple[Tensor, Tensor]:
    """uint8 arrays `(N, H, W, 3)` to float tensors `(N, 3, H, W)` in [0, 1], channels last in memory."""
    images = (torch.from_numpy(array).to(fabric.device).permute(0, 3, 1, 2) for array in (lr, hr))
    lr_tensor, hr_tensor = (image.float() / 255 for image in images)
    return lr_tensor, hr_tensor


def _fabric(recipe: Recipe) -> Fabric:
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    try:
        return Fabric(accelerator=recipe.device, devices=1, precision=recipe.precision)  # type: ignore[arg-type]
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"cannot train on {recipe.device} in {recipe.precision}: {error}") from error
    except Exception as error:  # Fabric's own class for a missing accelerator derives from Exception alone
        raise UsageError(f"cannot train on {recipe.device}: {error}") from error


def _start(recipe: Recipe, index: int) -> nn.Module:
    """A member's generator with its initial weights, of its own seed or from `recipe.start`."""
    torch.manual_seed(hash_int(f"{recipe.seed}/generator/{index}"))
    if recipe.start is None:
        return create_generator(recipe.model or DEFAULT_MODEL, recipe.scale, **recipe.model_options)
    started = load_generator(recipe.start)
    if recipe.model is None and not hasattr(started, "config"):
        raise UsageError(f"{recipe.start} is not of this package; name its architecture with --model")
    if recipe.model is None:
        if started.scale != recipe.scale:
            raise UsageError(f"{recipe.start} is x{started.scale}; give --scale {started.scale}")
        return started
    network = create_generator(recipe.model, recipe.scale, **recipe.model_options)
    copy_weights(started, network, recipe.start)
    return network


def _teacher(recipe: Recipe, stages: dict[str, Stage]) -> Teacher | None:
    users = [stage for stage in stages.values() if uses_teacher(stage)]
    if not users:
        return None
    kind = STRATEGIES[recipe.strategy].teacher or "gan"
    needs_discriminator = any(uses_discriminator(stage) for stage in users)
    return load_teacher(recipe.teacher, recipe.teacher_discriminator, kind, recipe.scale, needs_discriminator)


def _data(recipe: Recipe, stages: dict[str, Stage]) -> tuple[list[Pair], list[Pair]]:
    files = find_pairs(recipe.data)
    if recipe.val is None:
        files, val_files = hold_out(files)
    else:
        val_files = find_pairs(recipe.val)
    largest = max(stage.crop for stage in stages.values())
    for stage in stages.values():
        if stage.crop % recipe.scale:
            raise UsageError(f"a crop of {stage.crop} is not a multiple of the scale {recipe.scale}")
    train_pairs = load_pairs(files, recipe.scale, smallest=largest, skip_bad=recipe.skip_bad)
    return train_pairs, load_pairs(
        val_files, recipe.scale, smallest=4 * recipe.scale, skip_bad=recipe.skip_bad
    )


def _open_folder(folder: Path, recipe: Recipe, resume: bool) -> dict[str, Any]:
    """Checks the run folder; returns the checkpoint to go on from, empty to begin."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file; give --out a folder")
    held = folder / CHECKPOINT
    if not resume:
        if (folder / "recipe.yaml").exists():
            raise UsageError(f"{folder} already holds a run; go on with --resume, or give another --out")
        return {}
    if not held.is_file():
        if (folder / "recipe.yaml").exists():
            raise UsageError(f"the run in {folder} left no checkpoint: it is finished, or never got to one")
        return {}
    try:
        saved = torch.load(held, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
        raise SrkdError(
            f"{held} is damaged ({str(error).splitlines()[0]}); remove it to begin anew"
        ) from error
    ignored = {"out", "device", "threads", "save_every", "validate_every"}
    now = asdict(recipe)
    changed = [key for key, old in saved["recipe"].items() if key not in ignored and old != now.get(key)]
    if changed:
        details = ", ".join(f"{key} was {saved['recipe'][key]!r}, now {now.get(key)!r}" for key in changed)
        raise UsageError(f"the run in {folder} was begun with another recipe: {details}")
    return saved


def _facts(recipe: Recipe, name: str, stage: Stage, teacher: Teacher | None) -> dict[str, Any]:
    """What saved weights say of themselves; no paths, since files travel."""
    objective = "gan" if stage.critics else "perceptual" if "perceptual" in stage.losses else "psnr"
    return {
        "strategy": recipe.strategy,
        "stage": name,
        "steps": stage.steps,
        "objective": objective,
        "control": recipe.control,
        "kd_replaces": stage.kd_replaces,
        "seed": recipe.seed,
        "teacher": teacher.name if teacher is not None else None,
        "license": "Apache-2.0",
    }


def _weights_path(folder: Path, stage: str, index: int, members: int) -> Path:
    return folder / (f"{stage}.safetensors" if members == 1 else f"{stage}_{index}.safetensors")


def _dump_critics(critics: dict[tuple[int, str, int], nn.Module]) -> list[dict[str, Any]]:
    return [{"key": list(key), "config": c.config, "weights": c.state_dict()} for key, c in critics.items()]


def _load_critics(saved: list[dict[str, Any]]) -> dict[tuple[int, str, int], nn.Module]:
    critics = {}
    for entry in saved:
        critic = create_discriminator(**entry["config"])
        critic.load_state_dict(entry["weights"])
        critics[tuple(entry["key"])] = critic
    return critics


def _append(path: Path, entry: dict[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise SrkdError(f"cannot write {path}: {error.strerror}; the last checkpoint is intact") from error
