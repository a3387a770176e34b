"""A wide SPAN trained for PSNR, then students of its stored outputs, side by side.

python benchmarks/gpu/psnr.py --photos PHOTOS [--sets SETS] [--minutes 5] [--dry-run]
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import run_script
from benchmarks.gpu.places import Places, options, timed
from benchmarks.gpu.recipes import finish, train_beside, write

TEACHER: dict[str, Any] = {
    "strategy": "pretrain",
    "model": "span",
    "model_options": {"channels": 96},
    "batch": 32,
    "crop": 128,
    "seed": 1,
    "stages": {"pretrain": {"rate": 2e-3, "weight_decay": 0.3}},
}
# As in the cards of weights/: the teacher's outputs instead of HR.
STUDENT: dict[str, Any] = {
    "strategy": "pretrain",
    "batch": 32,
    "crop": 128,
    "seed": 4,
    "stages": {
        "pretrain": {"rate": 2e-3, "weight_decay": 0.3, "losses": {"l1": None, "output": {"weight": 1.0}}}
    },
}
STUDENTS: dict[str, dict[str, Any]] = {
    "span_s_psnr_gpu": {"start": "span_s_psnr"},
    "span_m_psnr_gpu": {"model": "span_m"},
}
TEACHING = 0.45  # of the time


def work(arguments: Namespace) -> None:
    places = Places(arguments)
    packed = places.prepared("clean")
    data = {"data": str(packed)}
    teacher = places.work / "span_wide_psnr" / "pretrain.safetensors"
    recipe = write(places, "span_wide_psnr", TEACHER, data)
    with timed("teacher"):
        failed = train_beside(places, {"span_wide_psnr": ([recipe], [1.0])}, places.left / 60 * TEACHING)
    if failed:
        finish(places, "psnr", {}, failed)
    places.prepared("clean", teacher=teacher, precision="fp32" if places.dry else "bf16")
    runs = {
        name: ([write(places, name, STUDENT, {**data, "teacher": str(teacher), **changes})], [1.0])
        for name, changes in STUDENTS.items()
    }
    with timed("students"):
        failed = train_beside(places, runs, places.left / 60 * 0.9)
    weights = {name: places.work / name / "pretrain.safetensors" for name in ("span_wide_psnr", *runs)}
    finish(places, "psnr", weights, failed)


if __name__ == "__main__":
    run_script(options(__doc__, 5), work)
