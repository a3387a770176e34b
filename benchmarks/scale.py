"""What a million, and a billion, photographs take: rates measured here, and a simulation of many workers.

    python -m benchmarks.scale measure     # rates of one core, into benchmarks/results/scale.json
    python -m benchmarks.scale simulate    # workers, failures and stragglers, into the same file
    python -m benchmarks.scale write       # benchmarks/scale.md, from that file

Rates are processor seconds of one thread, so that other work on the machine does not count.
"""

import heapq
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "results" / "scale.json"
PAGE = Path(__file__).with_suffix(".md")
# What is not measured here, with where it is from.
ASSUMED = {
    "core_dollars": (0.045, "an hour of a core: AWS c7i on demand, from memory"),
    "gpu_dollars": (0.80, "an hour of a machine with an NVIDIA L4: AWS g6.xlarge on demand, from memory"),
    "gpu_tflops": (121.0, "an L4's peak in fp16, dense: its data sheet, from memory"),
    "gpu_share": (0.3, "of the peak that is reached: a guess, for no GPU was measured for this page"),
    "store_dollars": (0.023, "a GB for a month in an object store: S3 standard, from memory"),
    "put_dollars": (5e-6, "a request that writes: S3 standard, from memory"),
    "get_dollars": (4e-7, "a request that reads: S3 standard, from memory"),
    "failures": (0.05, "interruptions of a worker in an hour: a guess, for instances that can be taken back"),
    "restart": (120.0, "seconds until a worker is replaced: a guess"),
    "slow": (0.02, "of the workers are slow: a guess"),
    "slowness": (4.0, "times as slow as others: a guess"),
    "network": (1.25e9, "bytes a second into the driver's machine: 10 Gbit/s"),
    "dispatch": (1e-3, "seconds of the driver for a Ray task: a guess, a thousand tasks a second"),
}
WORKERS = (10, 100, 1000, 10_000)
COUNTS = (10**6, 10**9)
# A photograph: of 1 megapixel, for upscaling; of 2 megapixels, with a quarter a side as LR, for preparing.
UPSCALE_PIXELS, PREPARE_PIXELS = 1_000_000, 2_000_000
TEACHER, STUDENT = "srgan_teacher_gan", "span_s_psnr"


def assumed(name: str) -> float:
    return ASSUMED[name][0]


def measure() -> dict[str, Any]:
    """Processor seconds of one thread for each step, by image; bytes; and what the driver keeps for each."""
    from srkd.data import embedded_photos
    from srkd.data.pairs import EMBEDDED_TRAIN, try_pair
    from srkd.images.reading import measure as read_header
    from srkd.images.reading import read_photo
    from srkd.images.writing import write_image
    from srkd.upscaling.enlarge import enlarge_file
    from srkd.upscaling.journal import Job, Journal
    from srkd.upscaling.opening import open_fastest, open_runner
    from srkd.weights.cost import count_cost

    student = open_fastest(STUDENT, threads=1, device="cpu", backend="onnxruntime")
    teacher = open_runner(TEACHER, "cpu", threads=1)
    found: dict[str, list[float]] = {"upscale": [], "read": [], "teacher": [], "jpeg_bits": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, photo in enumerate(embedded_photos(EMBEDDED_TRAIN)):
            pixels = read_photo(photo).pixels.astype(np.uint8)[:256, :256]
            source, target = folder / f"{number}.png", folder / "out" / f"{number}.jpg"
            write_image(source, np.ascontiguousarray(pixels))
            area = pixels.shape[0] * pixels.shape[1]
            seconds = clock(lambda a=source, b=target: enlarge_file(student, a, b, tile=0))
            found["upscale"].append(seconds / area * UPSCALE_PIXELS)
            found["jpeg_bits"].append(8 * target.stat().st_size / (16 * area))
            pairs: list[Any] = []
            seconds = clock(lambda a=source, kept=pairs: kept.append(try_pair((a, None), 4)))
            found["read"].append(seconds / area * PREPARE_PIXELS)
            seconds = clock(lambda image=pairs[0].lr[:48, :48]: teacher(image))
            found["teacher"].append(seconds / (16 * 48 * 48) * PREPARE_PIXELS)
        journal, job = Journal(folder / "out", {"weights": "0" * 16, "scale": None}), Job(source, target)
        header = clock(lambda: [read_header(source) for _ in range(100)]) / 100
        noting = clock(lambda: [(journal.begin([job]), journal.add(job)) for _ in range(100)]) / 100
        noted = journal.path.stat().st_size / 200
    entry = {"name": "folder/photograph_000000.jpg", "sha256": "0" * 64, "height": 1224, "width": 1632}
    return {
        "machine": {"cores": os.cpu_count(), "processor": processor(), "python": platform.python_version()},
        "seconds": {key: [round(value, 4) for value in found[key]] for key in ("upscale", "read", "teacher")},
        "jpeg_bits": round(float(np.mean(found["jpeg_bits"])), 3),
        "driver": {"header": round(header, 6), "note": round(noting, 6), "journal_bytes": noted},
        "manifest_bytes": len(json.dumps({**entry, "validation": False}, indent=1)),
        "macs": {key: count_cost(key).macs for key in (TEACHER, STUDENT)},
    }


def clock(action: Callable[[], Any]) -> float:
    """Processor seconds of the second of two calls."""
    action()
    began = time.process_time()
    action()
    return time.process_time() - began


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def simulate(
    seconds: Sequence[float], workers: int, tasks: int, driver: float, seed: int = 0
) -> dict[str, float]:
    """A job on many workers, event by event, as srkd.engines runs it: the driver hands out one task after
    another, at most two for each worker are begun; a task whose worker is lost is done again.

    Args:
        seconds: of tasks, from which each task's are drawn.
        workers: how many.
        tasks: how many.
        driver: seconds of the driver for each task, in which it does nothing else.
        seed: decides what is drawn.

    Returns:
        `hours` until the last task is done; `efficiency`, useful worker time over all of it; `lost`, the
        tasks begun in vain over all; `tail`, the hours in which some workers had nothing left to do.
    """
    rng = np.random.default_rng(seed)
    slow = np.where(rng.random(workers) < assumed("slow"), assumed("slowness"), 1.0)
    dies = rng.exponential(3600 / assumed("failures"), workers)
    times = rng.choice(np.asarray(seconds), tasks)
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    useful, lost, handed, end, first_idle = 0.0, 0, 0.0, 0.0, None
    queue = list(range(tasks - 1, -1, -1))
    # Work to be done again, from when its loss is known.
    again: list[tuple[float, int]] = []
    while queue or again:
        ready, worker = heapq.heappop(free)
        if not queue:
            known, task = heapq.heappop(again)
            first_idle = ready if first_idle is None else first_idle
            ready = max(ready, known)
        else:
            task = again[0][1] if again and again[0][0] <= ready else queue[-1]
            (heapq.heappop(again) if task != queue[-1] else queue.pop())
        handed = max(handed + driver, ready)
        done = handed + times[task] * slow[worker]
        if done > dies[worker]:
            lost += 1
            known = max(dies[worker], handed)
            heapq.heappush(again, (known, task))
            slow[worker] = assumed("slowness") if rng.random() < assumed("slow") else 1.0
            dies[worker] = known + assumed("restart") + rng.exponential(3600 / assumed("failures"))
            heapq.heappush(free, (known + assumed("restart"), worker))
            continue
        useful += times[task]
        end = max(end, done)
        heapq.heappush(free, (done, worker))
    idle = min(ready for ready, _ in free)
    idle = idle if first_idle is None else min(idle, first_idle)
    return {
        "hours": end / 3600,
        "efficiency": useful / (workers * end),
        "lost": lost / tasks,
        "tail": max(end - idle, 0.0) / 3600,
    }


def driver_seconds(measured: Mapping[str, Any], job: str) -> float:
    """Seconds of the driver for a photograph, in which it does nothing else. Of `prepare`, pixels pass it."""
    if job == "upscale":
        return assumed("dispatch") + measured["driver"]["header"] + measured["driver"]["note"]
    return 2 * assumed("dispatch") + stored_bytes(measured, job) / assumed("network")


def stored_bytes(measured: Mapping[str, Any], job: str) -> float:
    """Bytes that a photograph leaves: a JPEG of sixteen times its pixels; HR, LR and the teacher's output."""
    if job == "upscale":
        return measured["jpeg_bits"] / 8 * 16 * UPSCALE_PIXELS
    return 3 * PREPARE_PIXELS * (2 + 1 / 16)


def simulate_all(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    seconds, rows = measured["seconds"], []
    both = [a + b for a, b in zip(seconds["read"], seconds["teacher"], strict=True)]
    for job, times in (("upscale", seconds["upscale"]), ("prepare", both)):
        for workers in WORKERS:
            # As many as show the steady state and the end; more would only be longer.
            tasks = max(20 * workers, 20_000)
            found = simulate(times, workers, tasks, driver_seconds(measured, job))
            steady = tasks / ((found["hours"] - found["tail"]) * 3600)
            rows.append({"job": job, "workers": workers, "tasks": tasks, "rate": round(steady, 3)})
            rows[-1] |= {key: round(value, 5) for key, value in found.items()}
    return rows


def main(words: Sequence[str]) -> int:
    steps = list(words) or ["measure", "simulate", "write"]
    content = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    if "measure" in steps:
        content["measured"] = measure()
    if "simulate" in steps:
        content["assumed"] = {key: list(value) for key, value in ASSUMED.items()}
        content["simulated"] = simulate_all(content["measured"])
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if "write" in steps:
        from benchmarks.scale_page import render

        PAGE.write_text(render(content), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
