"""torch, on CUDA, MPS or the CPU."""

from typing import Any

import numpy as np
import torch

from srkd.errors import UsageError, first_line
from srkd.models.cost import count_memory
from srkd.models.fusing import fuse
from srkd.runtimes import Device, Settings
from srkd.runtimes.runner import FOREIGN_RADIUS, UNKNOWN_MEMORY, Runner
from srkd.terminal import console


def open_runner(model: Any, name: str, settings: Settings) -> Runner:
    """Places a generator on its device, in its precision.

    Raises:
        UsageError: there is no such device.
    """
    ours = model.config is not None
    model = fuse(model) if ours else model
    memory = count_memory(model) if ours else UNKNOWN_MEMORY
    device = best_device() if settings.device == "auto" else settings.device
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        model = model.to(device, memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"cannot run on {device}: {first_line(error)}") from error
    kind = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}.get(settings.precision)
    if settings.precision == "auto" and device == "cuda":
        kind = torch.float16
    half = [kind]

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(batch).to(device)
        if half[0] is not None:
            with torch.autocast(device, half[0]):
                found = model(images).float()
            if torch.isfinite(found).all():
                return found.cpu().numpy()
            console.print(f"{name}: {half[0]} overflows, continuing in fp32", markup=False)
            half[0] = None
        return model(images).float().cpu().numpy()

    radius = getattr(model, "radius", FOREIGN_RADIUS)
    return Runner(name, model.scale, radius, run, ours, memory, f"torch, {device}")


def best_device() -> Device:
    """CUDA or MPS where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
