"""How fast networks run on this device: ONNX files, timed in turns. Needs onnxruntime and numpy alone.

This file is also the script that `srkd profile` puts beside its ONNX files, to be run on another device:

    python profile.py [--threads N] [--turns N] [--out device.json]

So it imports nothing of srkd.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TURNS = 11
# In a turn a network runs for at least so many seconds, and at least once.
SUSTAINED = 0.05
# Threads of a pool spin for a while after their work and would slow the next network.
PAUSE = 0.02


def take_turns(
    works: Mapping[str, Callable[[], object]], turns: int, advance: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each work, one value per turn. All are run in every turn, beginning with another each time,
    so that a device that grows slower slows all alike; one turn before the first warms up.

    Args:
        works: what to time, by name.
        turns: how many are counted.
        advance: called after each work of each turn.
    """
    names, found = list(works), {name: [] for name in works}
    for turn in range(-1, turns):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            time.sleep(PAUSE)
            seconds = time_work(works[name])
            if turn >= 0:
                found[name].append(seconds)
            advance()
    return found


def time_work(work: Callable[[], object]) -> float:
    """Seconds of one call, of as many as SUSTAINED holds."""
    calls, start = 0, time.perf_counter()
    while True:
        work()
        calls += 1
        spent = time.perf_counter() - start
        if spent >= SUSTAINED:
            return spent / calls


def summarise(seconds: list[float]) -> dict[str, Any]:
    """Median and quartiles, in seconds, and the number of turns."""
    low, middle, high = (float(value) for value in np.percentile(seconds, (25, 50, 75)))
    return {"seconds": middle, "quartiles": [low, high], "turns": len(seconds)}


def open_file(path: Path, threads: int | None) -> Callable[[np.ndarray], object]:
    """An ONNX file in ONNX Runtime on the CPU, as a function of a float32 batch `(1, 3, H, W)`."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def make_image(width: int, height: int) -> np.ndarray:
    """A random LR image, float32 `(1, 3, H, W)` in [0, 1]."""
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)


def main() -> int:
    """Times the networks beside this file; returns 0, or 1 where it cannot."""
    parser = argparse.ArgumentParser(
        description="Times networks on this device, for srkd compress --profile."
    )
    parser.add_argument("--threads", type=int, help="CPU threads; all cores when not given")
    parser.add_argument("--turns", type=int, default=TURNS, help="measured turns, after one to warm up")
    parser.add_argument("--out", type=Path, default=Path("device.json"), help="the file to write")
    parser.add_argument("--file", type=Path, help="time this ONNX file alone, and write nothing")
    parser.add_argument("--size", default="320x180", help="LR size for --file, WIDTHxHEIGHT")
    words = parser.parse_args()
    if words.turns < 1 or (words.threads is not None and words.threads < 1):
        print("--turns and --threads must be at least 1", file=sys.stderr)
        return 1
    import onnxruntime

    if words.file is not None:
        width, height = (int(side) for side in words.size.split("x"))
        run, image = open_file(words.file, words.threads), make_image(width, height)
        facts = summarise(take_turns({"file": lambda: run(image)}, words.turns)["file"])
        low, high = (value * 1e3 for value in facts["quartiles"])
        print(f"{facts['seconds'] * 1e3:.2f} ms (quartiles {low:.2f} to {high:.2f})")
        return 0
    folder = Path(__file__).resolve().parent
    kit = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
    times = []
    for width, height in kit["sizes"]:
        image, works = make_image(width, height), {}
        for entry in kit["networks"]:
            run = open_file(folder / entry["file"], words.threads)
            works[entry["file"]] = lambda run=run, image=image: run(image)
        print(f"timing {len(works)} networks on {width}x{height} pixels ...", flush=True)
        found = take_turns(works, words.turns)
        times += [
            {**entry, "size": [width, height], **summarise(found[entry["file"]])} for entry in kit["networks"]
        ]
    result = {
        "format": 1,
        "runtime": "onnxruntime",
        "version": onnxruntime.__version__,
        "machine": f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "threads": words.threads,
        "precision": kit["precision"],
        "scale": kit["scale"],
        "times": times,
    }
    words.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"-> {words.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
