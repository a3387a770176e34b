"""torch, on CUDA, MPS or the CPU."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from srkd.errors import UsageError, first_line
from srkd.models.cost import count_memory
from srkd.models.fusing import fuse
from srkd.runtimes import Device, Settings
from srkd.runtimes.runner import UNKNOWN_MEMORY, Runner
from srkd.terminal import note


def open_runner(model: Any, name: str, settings: Settings) -> Runner:
    """Places a generator on its device, in its precision.

    Raises:
        UsageError: there is no such device.
    """
    ours = model.exact and any(True for _ in model.parameters())
    model = fuse(model) if ours else model
    memory = count_memory(model) if ours else UNKNOWN_MEMORY
    device = best_device() if settings.device == "auto" else settings.device
    family = place_on(model, device).type
    kind = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}.get(settings.precision)
    if settings.precision == "auto" and family == "cuda":
        kind = torch.float16
    half = [kind]

    @torch.inference_mode()
    def compute(batch: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(batch).to(device)
        if half[0] is not None:
            with torch.autocast(family, half[0]):
                found = model(images).float()
            if torch.isfinite(found).all():
                return found.cpu().numpy()
            note(f"{name}: {half[0]} overflows, continuing in fp32", "warning")
            half[0] = None
        return model(images).float().cpu().numpy()

    def run(batch: np.ndarray) -> np.ndarray:
        with limit_threads(settings.threads):
            return compute(batch)

    return Runner(name, model.scale, model.radius, run, model.exact, memory, f"torch, {device}")


def place_on(module: Any, device: Device) -> torch.device:
    """Moves a module to a device, and returns that.

    Raises:
        UsageError: there is no such device.
    """
    try:
        module.to(torch.device(device), memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"cannot run on {device}: {first_line(error)}") from error
    return torch.device(device)


def best_device() -> Device:
    """CUDA or MPS where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


_lock = threading.Lock()
# How many blocks below are running, and what torch's number of threads was before the first.
_limits = {"running": 0, "before": 0}


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Inside, torch computes with as many CPU threads; afterwards with as many as before. The number is
    torch's own and not the network's, so what others set while a block runs is lost when it ends."""
    if count is None:
        yield
        return
    with _lock:
        if _limits["running"] == 0:
            _limits["before"] = torch.get_num_threads()
        _limits["running"] += 1
    # Of this thread, and of those that have not computed anything yet.
    torch.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _limits["running"] -= 1
            torch.set_num_threads(_limits["before"])
