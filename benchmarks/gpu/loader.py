"""How long a training step waits for its batch: from a packed set, with and without the thread that brings
batches to the device, and with LR degraded on the way. For speed.py."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.places import Places
from benchmarks.train_step import STAGES, Setting
from srkd import create_generator
from srkd.data import Crops, open_data
from srkd.degradation import make_degradation
from srkd.training.feeding import cut, feed
from srkd.training.state import State, build_state
from srkd.training.step import train_step


def measure(places: Places, packed: Path) -> dict[str, Any]:
    """Seconds of a step on one batch over and over, and on batches as they come; turn by turn."""
    setting = Setting(torch.device(places.device), "32-true" if places.dry else "bf16-mixed", "span_s")
    batch, crop, steps, turns = (2, 64, 2, 2) if places.dry else (32, 96, 60, 5)
    stage = STAGES["PSNR stage"]
    pairs = open_data(packed, 4, smallest=crop).train
    torch.manual_seed(0)
    state = build_state(setting.fabric(), stage, [create_generator(setting.model)], {}, [], 0)
    crops = Crops(pairs, crop, batch, 4, [0])
    degraded = Crops(pairs, crop, batch, 4, [0], mix=make_degradation("real"))
    fixed = next(feed(crops.stream(0, 1), setting.device))

    def over_and_over() -> Iterator[Any]:
        return iter([fixed] * steps)

    sources: dict[str, Callable[[], Iterator[Any]]] = {
        "one batch": over_and_over,
        "not ahead": lambda: feed(crops.stream(0, steps), setting.device, prefetch=False),
        "ahead": lambda: feed(crops.stream(0, steps), setting.device, prefetch=True),
        "ahead, degraded": lambda: feed(degraded.stream(0, steps), setting.device, prefetch=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(-1, turns):
        for name, source in sources.items():
            took = take(state, source(), setting)
            if turn >= 0:
                seconds[name].append(took / steps)
    alone = time_alone(crops, steps)
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    waiting = {name: round(max(0.0, 1 - middle["one batch"] / each), 3) for name, each in middle.items()}
    return {
        **{
            "model": setting.model,
            "precision": setting.precision,
            "batch": batch,
            "crop": crop,
            "steps": steps,
        },
        "seconds": {name: float(f"{each:.4g}") for name, each in middle.items()},
        "waiting_share": waiting,
        "batches_per_second_alone": round(1 / alone, 1),
    }


def take(state: State, batches: Iterator[Any], setting: Setting) -> float:
    """Seconds for a step on each batch, as the training loop takes them."""
    began = time.perf_counter()
    for step, (_, images) in enumerate(batches):
        torch.manual_seed(step)
        state.set_rates(step)
        train_step(state, cut(images, 1), step)
    setting.wait()
    return time.perf_counter() - began


def time_alone(crops: Crops, steps: int) -> float:
    """Seconds for a batch with nothing beside."""
    began = time.perf_counter()
    for _ in crops.stream(0, steps):
        pass
    return (time.perf_counter() - began) / steps
