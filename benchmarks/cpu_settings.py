"""Settings of the CPU's libraries, against their defaults: which are worth it for training?

    python benchmarks/cpu_settings.py [--json benchmarks/results/cpu_settings.json]

Each setting must stand when a process starts, so each turn is a process of its own; settings take turns, and
a ratio is the median over turns of time per PSNR step to that of the default in the same turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from srkd.files import write_text

# Names to environment variables; `flush` is a call.
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "keep freed memory": {"MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_MMAP_THRESHOLD_": str(2**25)},
    "threads wait actively": {"OMP_WAIT_POLICY": "active"},
    "threads stay on their cores": {"OMP_PROC_BIND": "close"},
    "denormals to zero": {"SRKD_FLUSH": "1"},
    "oneDNN caches no primitives": {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0"},
}
_CODE = """
import os, sys, time, torch
sys.path.insert(0, {here!r})
from train_step import STAGES, ours
torch.set_flush_denormal(os.environ.get("SRKD_FLUSH") == "1")
stage = STAGES["PSNR stage"]
lr, hr = (torch.rand(16, 3, side, side).contiguous(memory_format=torch.channels_last) for side in (24, 96))
take = ours(stage, lr, hr)
for _ in range(5):
    take()
began = time.perf_counter()
for _ in range(25):
    take()
print((time.perf_counter() - began) / 25)
"""


def measure(setting: dict[str, str]) -> float:
    """Seconds per step in a new process."""
    code = _CODE.format(here=str(Path(__file__).parent))
    environment = {**os.environ, **setting}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for turn in range(arguments.turns):
        for name in list(SETTINGS) if turn % 2 else list(SETTINGS)[::-1]:
            found[name].append(measure(SETTINGS[name]))
    result = {"seconds": round(statistics.median(found["default"]), 4), "to_default": {}}
    for name, seconds in found.items():
        ratios = sorted(a / b for a, b in zip(seconds, found["default"], strict=True))
        result["to_default"][name] = {
            "median": round(statistics.median(ratios), 3),
            "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        }
        print(f"{name:<30}{statistics.median(ratios):6.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    if arguments.json:
        write_text(Path(arguments.json), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
