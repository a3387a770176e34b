"""The most memory that a run took."""

import sys
from pathlib import Path

import psutil
import torch


def peak_memory(device: torch.device) -> int:
    """The most memory that this process has held so far, in bytes: the GPU's, or the process's own. Where the
    system keeps no such figure, what it holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    found = psutil.Process().memory_info()
    return getattr(found, "peak_wset", found.rss)  # Windows has the first
