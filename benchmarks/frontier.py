"""Quality against speed: LPIPS and PSNR on Set5 over frames per second on a CPU, x4, beside others' networks.

    python benchmarks/frontier.py --data BENCHMARKS/Set5 [--turns 7] [--threads 2]
        [--json benchmarks/results/frontier.json] [--picture benchmarks/results/frontier.png]

The plot of Angarano et al. (arXiv 2209.03355): an LR image of 80x60 pixels, the network alone. Ours are all
shipped x4 weights, scored as `srkd evaluate` does, and bicubic. Others' layouts are timed with random
weights, in turns with ours. The published weights of some were scored in our protocol; EdgeSRGAN's scores are
the paper's, whose LPIPS is not ours, so each LPIPS is divided by that of bicubic under the same protocol.
"""

import logging
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import srkd
from srkd.commands.evaluate import open_benchmark
from srkd.commands.evaluating.scoring import score
from srkd.errors import SrkdError
from srkd.exports.onnx import to_onnx
from srkd.models.cost import count_parameters
from srkd.models.fusing import fuse
from srkd.terminal import console, progress
from srkd.upscaling.opening import open_runner
from srkd.weights.catalogue import list_shipped, read_header, shipped_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import (
    check_at_least,
    check_folder,
    check_output,
    machine,
    make_parser,
    run_script,
    versions,
    write_json,
)
from benchmarks.frontier_layouts import SCORED, SCORED_SOURCE, SOURCE, THEIR_BICUBIC, THEIRS
from benchmarks.frontier_plot import draw
from benchmarks.runtimes import SCALE, architecture, enlarge_bicubic, open_session, random_image, to_batch
from benchmarks.timing import summarise, take_turns

SIZE = (80, 60)
BICUBIC, LPIPS = "bicubic", "st-lpips-alex"
# In a turn a network runs for at least this many seconds and frames: the rate of a film, not of one image.
SUSTAINED, FRAMES = 0.4, 3
# Two sessions of one layout differ by a few per cent for a whole run; faster means by more than this factor.
MARGIN = 1.05
# Largest accepted difference between ONNX Runtime and torch.
BOUND = 1e-3

# A network: `lpips`, `share` of bicubic's, `psnr` under y-crop4 where it is known, `parameters`, `fps` with
# `median` and `quartiles`.
Point = dict[str, Any]


def find_ours() -> dict[str, Any]:
    """The shipped networks in srkd's own format at this scale, by name."""
    found = {}
    for name, entry in list_shipped().items():
        path = shipped_folder() / entry["file"]
        if entry["scale"] == SCALE and path.suffix == ".safetensors" and read_header(path):
            found[name] = srkd.load_generator(name)
    return found


def score_all(names: Sequence[str], data: str, threads: int) -> tuple[dict[str, dict[str, float]], int]:
    """The mean scores of each, as `srkd evaluate` computes them, and the number of images."""
    count, pairs = open_benchmark(data, SCALE)
    images = list(pairs)
    found = {}
    with progress("scoring", len(names) * count) as advance:
        for name in names:
            model = open_runner(name, "cpu", SCALE, threads=threads)

            def passing():
                for pair in images:
                    yield pair
                    advance(1)

            found[name] = score(model, passing(), "y-crop", LPIPS)["mean"]
            console.print(f"{name}: {LPIPS} {found[name][LPIPS]:.4f}", markup=False)
    return found, count


def open_network(model: nn.Module, threads: int) -> Callable[[np.ndarray], object]:
    """A fused network in ONNX Runtime, as a function of a batch.

    Raises:
        SrkdError: its result differs from that of torch.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    fused = fuse(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_onnx(fused).SerializeToString()
    session = open_session(graph, threads)
    batch = to_batch(random_image(SIZE))
    with torch.inference_mode():
        wanted = fused(torch.from_numpy(batch)).numpy()
    found = np.asarray(session.run(None, {"lr": batch})[0])
    if found.shape != (1, 3, SIZE[1] * SCALE, SIZE[0] * SCALE) or not np.allclose(found, wanted, atol=BOUND):
        raise SrkdError(f"ONNX Runtime and torch give different results for a {type(model).__name__}")
    return lambda batch: session.run(None, {"lr": batch})


def pace(work: Callable[[], object]) -> float:
    """Seconds per frame of sustained work, after one frame that wakes the threads."""
    work()
    frames, start = 0, time.perf_counter()
    while True:
        work()
        frames += 1
        seconds = time.perf_counter() - start
        if frames >= FRAMES and seconds >= SUSTAINED:
            return seconds / frames


def time_networks(models: Mapping[str, nn.Module], threads: int, turns: int) -> dict[str, Point]:
    """Frames per second of each network and of bicubic. Networks of one architecture are timed once."""
    image = random_image(SIZE)
    batch = to_batch(image)
    works: dict[str, Callable[[], object]] = {BICUBIC: lambda: enlarge_bicubic(image)}
    keys = {BICUBIC: BICUBIC} | {name: architecture(model, name) for name, model in models.items()}
    for name, model in models.items():
        if keys[name] not in works:
            works[keys[name]] = partial(open_network(model, threads), batch)
    console.print(f"timing {len(works)} architectures, {turns} turns and one to warm up", markup=False)
    with progress("timing", len(works) * (turns + 1)) as advance:

        def entry(key: str, turn: int) -> Mapping[str, float]:
            seconds = pace(works[key])
            advance(1)
            return {key: seconds}

        seconds = take_turns([partial(entry, key) for key in works], turns)
    rates = {key: summarise(1 / np.array(values)) for key, values in seconds.items()}
    return {name: rates[key] for name, key in keys.items()}


def dominates(ours: Point, theirs: Point) -> bool:
    """Whether ours has the lower LPIPS share, at no lower PSNR where both are known, and is faster by more
    than the spread of turns and sessions."""
    faster = ours["fps"]["quartiles"][0] > MARGIN * theirs["fps"]["quartiles"][1]
    faithful = "psnr" not in theirs or ours["psnr"] >= theirs["psnr"]
    return faster and faithful and ours["share"] < theirs["share"]


def find_dominated(ours: Mapping[str, Point], theirs: Mapping[str, Point]) -> dict[str, list[str]]:
    """For each of ours that dominates any of theirs, which."""
    found = {name: [other for other in theirs if dominates(ours[name], theirs[other])] for name in ours}
    return {name: others for name, others in found.items() if others}


def make_point(
    lpips: float, bicubic: float, model: nn.Module | None, fps: Point, psnr: float | None = None
) -> Point:
    parameters = 0 if model is None else count_parameters(model)
    point = {
        "lpips": round(lpips, 4),
        "share": round(lpips / bicubic, 4),
        "parameters": parameters,
        "fps": fps,
    }
    return point if psnr is None else {**point, "psnr": round(psnr, 2)}


def measure(data: Path, threads: int, turns: int) -> dict[str, Any]:
    """Everything that the JSON file holds."""
    models = find_ours()
    scores, count = score_all([BICUBIC, *models], str(data), threads)
    torch.manual_seed(0)
    layouts = {name: rival.build() for name, rival in (THEIRS | SCORED).items()}
    rates = time_networks({**models, **layouts}, threads, turns)
    bicubic = scores[BICUBIC][LPIPS]
    ours = {
        name: make_point(found[LPIPS], bicubic, models.get(name), rates[name], found["psnr"])
        for name, found in scores.items()
    }
    scored = {
        name: make_point(rival.lpips, bicubic, layouts[name], rates[name], rival.psnr)
        for name, rival in SCORED.items()
    }
    theirs = {
        name: {
            **make_point(rival.lpips, THEIR_BICUBIC, layouts[name], rates[name]),
            "published_fps": rival.fps,
        }
        for name, rival in THEIRS.items()
    }
    return {
        "scale": SCALE,
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "set": data.resolve().name,
        "images": count,
        "threads": threads,
        "turns": turns,
        "runtime": "ONNX Runtime; bicubic by Pillow",
        "machine": machine(),
        "versions": versions("srkd", "onnxruntime", "onnx", "torch", "pillow", "stlpips-pytorch"),
        "ours": {"lpips": LPIPS, "points": ours},
        "theirs": {
            "lpips": "lpips-alex, their protocol",
            "source": SOURCE,
            "bicubic": THEIR_BICUBIC,
            "fps": "of the layout with random weights, measured in the same run as ours",
            "points": theirs,
        },
        "scored": {"lpips": LPIPS, "source": SCORED_SOURCE, "points": scored},
        "dominates": find_dominated(ours, {**theirs, **scored}),
    }


def show(result: Mapping[str, Any]) -> None:
    print(f"\nx{SCALE} of {result['size']}, {result['threads']} threads; fps: median (quartiles)")
    print(f"  {'':<30}{'LPIPS':>8}{'share':>8}{'fps':>10}")
    for side in ("ours", "scored", "theirs"):
        print(f"{side}, {result[side]['lpips']}")
        for name, point in result[side]["points"].items():
            low, high = point["fps"]["quartiles"]
            print(
                f"  {name:<30}{point['lpips']:8.4f}{point['share']:8.3f}{point['fps']['median']:10.4g}"
                f"  ({low:.4g} to {high:.4g})"
                + (f", {point['psnr']:.2f} dB" if "psnr" in point else "")
                + (f", {point['published_fps']:.4g} as published" if "published_fps" in point else "")
            )
    for name, others in result["dominates"].items():
        print(f"{name} is better and faster than {'; '.join(others)}")
    if not result["dominates"]:
        print("none of ours is both better and faster than one of theirs")


def work(arguments: Namespace) -> None:
    check_at_least(1, threads=arguments.threads, turns=arguments.turns)
    check_folder("--data", arguments.data)
    check_output("--json", arguments.json, ".json")
    check_output("--picture", arguments.picture, ".png")
    result = measure(arguments.data, arguments.threads, arguments.turns)
    show(result)
    if arguments.json:
        write_json(arguments.json, result)
    if arguments.picture:
        draw(result, arguments.picture)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Set5's folder, with HR/ and LR/ inside")
    parser.add_argument("--turns", type=int, default=7, help="measured turns, after one to warm up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--picture", type=Path, help="file for the plot")
    run_script(parser, work, words)


if __name__ == "__main__":
    main()
