"""Stored degraded pairs with Real-ESRGAN x4plus's outputs, in as many draws as the minutes allow.

    python benchmarks/gpu/teacher.py --photos PHOTOS --teacher realesrgan-x4plus.param [--minutes 2.5]
        [--dry-run]

Some photographs are prepared first; their speed decides the number of draws. Writes gpu-teacher.json.
"""

import importlib
import os
import shutil
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import srkd
from benchmarks.common import run_script, write_json
from benchmarks.gpu.places import Places, options, read_json
from srkd.images.folders import list_images

MIX: dict[str, Any] = {"preset": "real", "clean": 0.2}
SAMPLE, MOST = 32, 10
# Of the time that the measured speed gives.
SAFE = 0.8


def arguments_of(places: Places) -> dict[str, Any]:
    precision = "fp32" if places.dry else "fp16"
    return {"teacher": places.teacher, "clean_target": "hr", "precision": precision}


def measure(places: Places) -> dict[str, float]:
    """Seconds of the processes' start, and for a megapixel of HR to be degraded once and enlarged once."""
    importlib.import_module("srkd.data.degrade")  # takes seconds, which are nobody's
    folder, packed = places.work / "sample", places.work / "sample_packed"
    for path in (folder, packed):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    paths = list_images(places.photos)
    for number in np.linspace(0, len(paths) - 1, min(2 if places.dry else SAMPLE, len(paths))).astype(int):
        shutil.copy(paths[number], folder / f"{number}{paths[number].suffix}")
    jobs = 1 if places.dry else os.cpu_count() or 1
    seconds = []
    counts = (2, 1) if places.dry else (1, 5)
    for draws in counts:
        shutil.rmtree(packed, ignore_errors=True)
        began = time.monotonic()
        srkd.prepare(folder, packed, degradation=MIX, draws=draws, jobs=jobs)
        seconds.append(time.monotonic() - began)
    began = time.monotonic()
    srkd.prepare(folder, packed, degradation=MIX, draws=draws, **arguments_of(places))
    enlarging = time.monotonic() - began
    megapixels = (packed / "hr.u8").stat().st_size / 3e6
    drawing = max((seconds[1] - seconds[0]) / (counts[1] - counts[0]), 1e-3) / megapixels
    sample = sum(path.stat().st_size for path in list_images(folder))
    whole = sum(path.stat().st_size for path in paths)
    return {
        "start_seconds": round(max(0.0, seconds[0] - drawing * megapixels), 2),
        "degrade_seconds_per_megapixel": float(f"{drawing:.3g}"),
        "teacher_seconds_per_megapixel": float(f"{enlarging / draws / megapixels:.3g}"),
        # By the files' sizes, since the others are not read yet.
        "megapixels": round(megapixels * whole / sample, 1),
    }


def work(arguments: Namespace) -> None:
    places = Places(arguments)
    chosen = places.work / "draws.json"
    found = read_json(chosen)
    if found is None:
        found = measure(places)
        each = found["megapixels"] * (
            found["degrade_seconds_per_megapixel"] + found["teacher_seconds_per_megapixel"]
        )
        draws = int((places.left - found["start_seconds"]) * SAFE / each)
        found["draws"] = 1 if places.dry else min(max(draws, 1), MOST)
        write_json(chosen, found)
    print(found, flush=True)
    began = time.monotonic()
    packed = places.prepared("real", degradation=MIX, draws=found["draws"])
    degraded = time.monotonic() - began
    began = time.monotonic()
    places.prepared("real", degradation=MIX, draws=found["draws"], **arguments_of(places))
    enlarged = time.monotonic() - began
    size = sum(path.stat().st_size for path in packed.iterdir())
    result = {
        **found,
        "degrade_seconds": round(degraded, 1),
        "teacher_seconds": round(enlarged, 1),
        "bytes": size,
    }
    places.write("teacher", result)


if __name__ == "__main__":
    run_script(options(__doc__, 2.5), work)
