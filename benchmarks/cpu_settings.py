"""Memory, thread and oneDNN settings against their defaults: does any of them speed up training?

    python benchmarks/cpu_settings.py [--json benchmarks/results/cpu_settings.json]

These settings are read when a process starts, so each turn runs each setting in a new process. A ratio is the
median over turns of the time per PSNR step over that of the default in the same turn.
"""

import os
import statistics
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from srkd.errors import SrkdError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_at_least, check_output, make_parser, run_script, write_json
from benchmarks.timing import take_turns

ROOT = Path(__file__).resolve().parents[1]
# Environment variables by name of the setting; SRKD_FLUSH is read by the child below.
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "keep freed memory": {"MALLOC_TRIM_THRESHOLD_": str(2**34), "MALLOC_MMAP_THRESHOLD_": str(2**25)},
    "threads wait actively": {"OMP_WAIT_POLICY": "active"},
    "threads stay on their cores": {"OMP_PROC_BIND": "close"},
    "denormals to zero": {"SRKD_FLUSH": "1"},
    "oneDNN caches no primitives": {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0"},
}
CHILD = f"""
import os, sys, torch
sys.path.insert(0, {str(ROOT)!r})
from benchmarks.timing import time_call
from benchmarks.train_step import STAGES, make_step
torch.set_flush_denormal(os.environ.get("SRKD_FLUSH") == "1")
lr, hr = (torch.rand(16, 3, side, side).contiguous(memory_format=torch.channels_last) for side in (24, 96))
step = make_step(STAGES["PSNR stage"], lambda step: (lr, hr))
time_call(step, 5)
print(time_call(step, 25))
"""


def measure(setting: str) -> dict[str, float]:
    """Seconds per step in a new process."""
    environment = {**os.environ, **SETTINGS[setting]}
    done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SrkdError(f"the process with '{setting}' failed: {done.stderr.strip().splitlines()[-1]}")
    return {setting: float(done.stdout.splitlines()[-1])}


def compare(turns: int) -> dict[str, Any]:
    """All settings over the default, printed."""
    found = take_turns([lambda turn, name=name: measure(name) for name in SETTINGS], turns)
    result: dict[str, Any] = {"seconds": round(statistics.median(found["default"]), 4), "to_default": {}}
    for name in SETTINGS:
        ratios = sorted(a / b for a, b in zip(found[name], found["default"], strict=True))
        median, low, high = statistics.median(ratios), ratios[0], ratios[-1]
        result["to_default"][name] = {"median": round(median, 3), "range": [round(low, 3), round(high, 3)]}
        print(f"{name:<30}{median:6.3f}  ({low:.3f} to {high:.3f})")
    return result


def work(arguments: Namespace) -> None:
    check_at_least(1, turns=arguments.turns)
    check_output("--json", arguments.json)
    result = compare(arguments.turns)
    if arguments.json:
        write_json(arguments.json, result)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="measured turns, after one to warm up")
    parser.add_argument("--json", type=Path, help="file for the figures")
    run_script(parser, work)


if __name__ == "__main__":
    main()
