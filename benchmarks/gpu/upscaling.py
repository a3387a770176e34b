"""The speed of the parts of `srkd upscale` on the device: the network, the copies, decoding and encoding, one
after another and in several threads. For speed.py."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.places import Places
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.runtimes.runner import Runner
from srkd.upscaling.enlarge import enlarge_file
from srkd.upscaling.opening import open_runner
from srkd.weights.store import load_generator

WEIGHTS = ("span_s_psnr", "srgan_teacher_psnr")


def measure(places: Places, photos: Path) -> dict[str, Any]:
    """Megapixels of the result in a second, by network; and peak memory."""
    side, count, files = ((64, 48), 2, 2) if places.dry else ((960, 720), 20, 24)
    found: dict[str, Any] = {"lr_size": f"{side[0]}x{side[1]}", "networks": {}}
    for name in WEIGHTS[: 1 if places.dry else None]:
        found["networks"][name] = one = {
            precision: network(places, name, precision, side, count)
            for precision in (("fp32",) if places.dry else ("fp32", "fp16", "bf16"))
        }
        one["files"] = command(places, name, photos, side, files)
        print(name, one, flush=True)
    found["copies"] = copies(places)
    return found


def network(places: Places, name: str, precision: str, side: tuple[int, int], count: int) -> dict[str, Any]:
    """The network on an image that lies on the device, and with the copies there and back."""
    device = torch.device(places.device)
    runner = open_runner(name, places.device, backend="torch", precision=precision)
    image = np.random.default_rng(0).random((1, 3, side[1], side[0]), np.float32)
    assert runner.run is not None
    run, batch = runner.run, torch.from_numpy(image).to(device)
    model = load_generator(name).to(device).to(memory_format=torch.channels_last).eval()
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)

    @torch.inference_mode()
    def bare() -> None:
        with torch.autocast(device.type, half, enabled=half is not None):
            model(batch)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    pixels = 16 * side[0] * side[1]
    speeds = {
        "on_device": pixels / clock(bare, count, device) / 1e6,
        "with_copies": pixels / clock(lambda: run(image), count, device) / 1e6,
    }
    result: dict[str, Any] = {key: round(value, 1) for key, value in speeds.items()}
    if device.type == "cuda":
        result["peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return result


def clock(work: Callable[[], object], count: int, device: torch.device) -> float:
    """Seconds of a call, after two to warm up."""
    for number in range(-2, count):
        if number == 0:
            began = time.perf_counter()
        work()
        if number == -1 and device.type == "cuda":
            torch.cuda.synchronize(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / count


def command(places: Places, name: str, photos: Path, side: tuple[int, int], files: int) -> dict[str, Any]:
    """JPEG files to JPEG files, in 1 thread, as `srkd upscale` works, and in several, in which decoding, the
    copies, the network and encoding overlap."""
    runner = open_runner(name, places.device, backend="torch", precision="auto")
    with TemporaryDirectory() as text:
        folder = Path(text)
        sources, paths = [], list_images(photos)
        for number in range(files):
            image = Image.fromarray(read_image(paths[number % len(paths)])).resize(side)
            sources.append(folder / f"{number}.jpg")
            image.save(sources[-1], quality=90)
        pixels = 16 * side[0] * side[1] * files / 1e6
        found = {}
        for threads in (1, 2) if places.dry else (1, 2, 4, 8, 1):
            began = time.perf_counter()
            enlarge_all(runner, sources, folder, threads)
            # The first also warms up, and is measured again at the end.
            found[str(threads)] = round(pixels / (time.perf_counter() - began), 1)
    return {"megapixels_per_second_by_threads": found}


def enlarge_all(runner: Runner, sources: list[Path], folder: Path, threads: int) -> None:
    def one(source: Path) -> None:
        enlarge_file(runner, source, folder / f"{source.stem}_x4.jpg")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, sources))


def copies(places: Places) -> dict[str, float] | None:
    """Gigabytes in a second between the GPU and memory, pageable and pinned; None without a GPU."""
    if places.device != "cuda":
        return None
    device, size = torch.device("cuda"), 2**28
    there = torch.empty(size, dtype=torch.uint8, device=device)
    found = {}
    for kind in ("pageable", "pinned"):
        here = torch.empty(size, dtype=torch.uint8, pin_memory=kind == "pinned")
        for way, work in (("to", lambda h=here: there.copy_(h)), ("from", lambda h=here: h.copy_(there))):
            found[f"{way} the GPU, {kind}"] = round(size / clock(work, 5, device) / 1e9, 1)
    return found
