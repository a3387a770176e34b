"""Quality against speed: LPIPS on Set5 over frames a second of a CPU, x4, beside EdgeSRGAN's frontier.

    python benchmarks/frontier.py --data BENCHMARKS/Set5 [--turns 7] [--threads 2]
        [--json benchmarks/results/frontier.json] [--picture benchmarks/results/frontier.png]

The plot that Angarano et al. print (arXiv 2209.03355): an LR image of 80x60 pixels, the network alone. Ours
are all shipped x4 weights, scored as `srkd evaluate` scores them, and bicubic. Theirs are published scores at
the speed of their layouts with random weights, exported, run and timed here in turns with ours. Their LPIPS
is not ours, so each is a share of what bicubic has under the same protocol.
"""

import argparse
import json
import logging
import platform
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import srkd
from srkd.backends import open_upscaler
from srkd.catalog import list_shipped, read_header, shipped_folder
from srkd.errors import SrkdError, UsageError
from srkd.evaluation import open_benchmark, score
from srkd.exports.formats import to_onnx
from srkd.files import console, progress, replacing, write_text
from srkd.models.cost import count_parameters
from srkd.models.fusing import fuse

# Turns are taken as the benchmark of upscaling takes them.
sys.path.append(str(Path(__file__).resolve().parent))
from upscale import TEACHER, Entry, enlarge_bicubic, take_turns, to_batch

SCALE, SIZE = 4, (80, 60)
BICUBIC, LPIPS = "bicubic", "st-lpips-alex"
# Seconds and frames that a network runs on end in a turn: a film's rate, not that of a single image.
SUSTAINED, FRAMES = 0.4, 3
# Two sessions of one layout differ by a few per cent throughout a run, which is not to count as faster.
MARGIN = 1.05
# What ONNX Runtime's result may differ by from torch's.
BOUND = 1e-3

Run = Callable[[np.ndarray], object]
# Of a network: `lpips`, `share` of bicubic's, `parameters`, `fps` with `median` and `quartiles`.
Point = dict[str, Any]


class EdgeSRGAN(nn.Module):
    """The generator of EdgeSRGAN (arXiv 2209.03355), for its speed.

    Residual blocks without batch norm, a first kernel of 9, both skips, and two transposed convolutions of
    kernel and stride 2 in place of sub-pixel ones. What is known of it differs: a public summary of the paper
    says ReLU, some 660 thousand parameters (kernels of 3 would make 682), and a tiny version of 32 channels
    with 90 thousand; its code (PIC4SeR/EdgeSRGAN, utils/srgan.py) has PReLU, and 64 channels in the tiny
    version. So the tiny one is timed both ways. The scaling of values before and after the network is left
    out.

    Args:
        channels: width.
        blocks: number of residual blocks.
        activation: in the head and the blocks.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, 4*H, 4*W)` in [-1, 1].
    """

    def __init__(self, channels: int = 64, blocks: int = 8, activation: Callable[[], nn.Module] = nn.ReLU):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), activation())
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                activation(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 3, 2, stride=2),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.head(x)
        for block in self.body:
            x = x + block(x)
        return self.tail(first + self.last(x))


class Rival(NamedTuple):
    """A published network: its layout, and its LPIPS on Set5 and frames a second as printed."""

    build: Callable[[], nn.Module]
    lpips: float
    fps: float


SOURCE = "Angarano et al. 2023, arXiv 2209.03355v2: LPIPS (AlexNet) on Set5 x4; fps at 80x60 on their CPU"
THEIR_BICUBIC = 0.340
# SRGAN without batch norm, which is folded away where it is run.
THEIRS = {
    "SRGAN": Rival(partial(srkd.create_generator, TEACHER), 0.094, 2.70),
    "EdgeSRGAN": Rival(partial(EdgeSRGAN, activation=nn.PReLU), 0.095, 10.26),
    "EdgeSRGAN-tiny 64x4, distilled": Rival(partial(EdgeSRGAN, 64, 4), 0.132, 37.99),
    "EdgeSRGAN-tiny 32x4, distilled": Rival(partial(EdgeSRGAN, 32, 4), 0.132, 37.99),
}


def find_ours() -> dict[str, Any]:
    """The shipped networks of this package and scale, by name."""
    found = {}
    for name, entry in list_shipped().items():
        path = shipped_folder() / entry["file"]
        if entry["scale"] == SCALE and path.suffix == ".safetensors" and read_header(path):
            found[name] = srkd.load_generator(name)
    return found


def score_all(names: Sequence[str], data: str, threads: int) -> tuple[dict[str, float], int]:
    """The mean LPIPS of each as `srkd evaluate` has it, and over how many images."""
    count, pairs = open_benchmark(data, SCALE)
    images = list(pairs)
    found = {}
    with progress("scoring", len(names) * count) as advance:
        for name in names:
            model = open_upscaler(name, "cpu", SCALE, threads=threads)

            def passing():
                for pair in images:
                    yield pair
                    advance(1)

            found[name] = score(model, passing(), "y-crop", LPIPS)["mean"][LPIPS]
            console.print(f"{name}: {LPIPS} {found[name]:.4f}", markup=False)
    return found, count


def open_network(model: nn.Module, threads: int) -> Run:
    """A network as ONNX Runtime runs it, fused, from a batch to a batch.

    Raises:
        SrkdError: it computes something else than torch does.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    fused = fuse(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_onnx(fused).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    batch = make_batch()
    with torch.inference_mode():
        wanted = fused(torch.from_numpy(batch)).numpy()
    found = np.asarray(session.run(None, {"lr": batch})[0])
    if found.shape != (1, 3, SIZE[1] * SCALE, SIZE[0] * SCALE) or not np.allclose(found, wanted, atol=BOUND):
        raise SrkdError(f"ONNX Runtime computes something else than torch of a {type(model).__name__}")
    return lambda batch: session.run(None, {"lr": batch})


def make_image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def make_batch() -> np.ndarray:
    return to_batch(make_image())


def pace(work: Callable[[], object]) -> float:
    """Seconds a frame of work that goes on for a while, after a frame that wakes the threads."""
    work()
    frames, began = 0, time.perf_counter()
    while True:
        work()
        frames += 1
        seconds = time.perf_counter() - began
        if frames >= FRAMES and seconds >= SUSTAINED:
            return seconds / frames


def time_networks(models: Mapping[str, nn.Module], threads: int, turns: int) -> dict[str, Point]:
    """Frames a second of each and of bicubic, median and quartiles over turns. Networks of one architecture
    cost the same, and are measured once."""
    image, batch = make_image(), make_batch()
    works: dict[str, Callable[[], object]] = {BICUBIC: lambda: enlarge_bicubic(image)}
    keys = {BICUBIC: BICUBIC}
    for name, model in models.items():
        keys[name] = json.dumps(model.config) if hasattr(model, "config") else name
        if keys[name] not in works:
            works[keys[name]] = partial(open_network(model, threads), batch)
    console.print(f"timing {len(works)} architectures, {turns} turns and one to warm up", markup=False)
    with progress("timing", len(works) * (turns + 1)) as advance:

        def entry(key: str, work: Callable[[], object]) -> Entry:
            def take(turn: int) -> Mapping[str, float]:
                seconds = pace(work)
                advance(1)
                return {key: seconds}

            return take

        seconds = take_turns([entry(*item) for item in works.items()], turns)
    rates = {key: summarise(values) for key, values in seconds.items()}
    return {name: rates[key] for name, key in keys.items()}


def summarise(seconds: Sequence[float]) -> Point:
    rates = np.percentile(1 / np.array(seconds), (25, 50, 75))
    low, middle, high = (float(f"{rate:.4g}") for rate in rates)
    return {"median": middle, "quartiles": [low, high]}


def dominates(ours: Point, theirs: Point) -> bool:
    """Whether ours is nearer, and faster by more than the spread of turns and of sessions."""
    faster = ours["fps"]["quartiles"][0] > MARGIN * theirs["fps"]["quartiles"][1]
    return faster and ours["share"] < theirs["share"]


def find_dominated(ours: Mapping[str, Point], theirs: Mapping[str, Point]) -> dict[str, list[str]]:
    """Those of ours that dominate any of theirs, and which."""
    found = {name: [other for other in theirs if dominates(ours[name], theirs[other])] for name in ours}
    return {name: others for name, others in found.items() if others}


def make_point(lpips: float, bicubic: float, model: nn.Module | None, fps: Point) -> Point:
    parameters = 0 if model is None else count_parameters(model)
    share = round(lpips / bicubic, 4)
    return {"lpips": round(lpips, 4), "share": share, "parameters": parameters, "fps": fps}


def measure(data: Path, threads: int, turns: int) -> dict[str, Any]:
    """All figures."""
    models = find_ours()
    scores, count = score_all([BICUBIC, *models], str(data), threads)
    torch.manual_seed(0)
    layouts = {name: rival.build() for name, rival in THEIRS.items()}
    rates = time_networks({**models, **layouts}, threads, turns)
    ours = {
        name: make_point(lpips, scores[BICUBIC], models.get(name), rates[name])
        for name, lpips in scores.items()
    }
    theirs = {
        name: {
            **make_point(rival.lpips, THEIR_BICUBIC, layouts[name], rates[name]),
            "published_fps": rival.fps,
        }
        for name, rival in THEIRS.items()
    }
    packages = ("srkd", "onnxruntime", "onnx", "torch", "pillow", "stlpips-pytorch")
    return {
        "scale": SCALE,
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "set": data.resolve().name,
        "images": count,
        "threads": threads,
        "turns": turns,
        "runtime": "ONNX Runtime; bicubic by Pillow",
        "machine": platform.processor() or platform.machine(),
        "versions": {package: version(package) for package in packages},
        "ours": {"lpips": LPIPS, "points": ours},
        "theirs": {
            "lpips": "lpips-alex, their protocol",
            "source": SOURCE,
            "bicubic": THEIR_BICUBIC,
            "fps": "of the layout with random weights, measured in the same run as ours",
            "points": theirs,
        },
        "dominates": find_dominated(ours, theirs),
    }


def show(result: Mapping[str, Any]) -> None:
    print(f"\nx{SCALE} of {result['size']}, {result['threads']} threads; fps: median (quartiles)")
    print(f"  {'':<30}{'LPIPS':>8}{'share':>8}{'fps':>10}")
    for side in ("ours", "theirs"):
        print(f"{side}, {result[side]['lpips']}")
        for name, point in result[side]["points"].items():
            low, high = point["fps"]["quartiles"]
            print(
                f"  {name:<30}{point['lpips']:8.4f}{point['share']:8.3f}{point['fps']['median']:10.4g}"
                f"  ({low:.4g} to {high:.4g})"
                + (f", {point['published_fps']:.4g} as published" if "published_fps" in point else "")
            )
    for name, others in result["dominates"].items():
        print(f"{name} is nearer and faster than {'; '.join(others)}")
    if not result["dominates"]:
        print("none of ours is both nearer and faster than one of theirs")


def draw(result: Mapping[str, Any], path: Path) -> None:
    """The frontier: to the right is faster, lower is nearer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = []
    for side, color, fill in (("ours", "tab:blue", "tab:blue"), ("theirs", "tab:red", "white")):
        for name, point in result[side]["points"].items():
            middle, (low, high) = point["fps"]["median"], point["fps"]["quartiles"]
            bars = [[middle - low], [high - middle]]
            axes.errorbar(middle, point["share"], xerr=bars, fmt="o", capsize=2, color=color, mfc=fill)
            places.append(Place(name, (low, middle, high), point["share"], color))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(0.12)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.set_xlabel(f"frames a second at {result['size']} LR pixels, x{SCALE}, log scale (right is faster)")
    axes.set_ylabel("LPIPS over bicubic's own, each in its own protocol (lower is nearer)")
    figure.suptitle(describe(result), fontsize=8, x=0.01, ha="left")
    figure.canvas.draw()
    place_labels(axes, places)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def describe(result: Mapping[str, Any]) -> str:
    """What the plot shows, in brief."""
    ours = result["ours"]["points"][BICUBIC]["lpips"]
    return (
        f"Filled: shipped weights, {LPIPS} on {result['set']} over bicubic's {ours:.3f}, measured here.\n"
        "Hollow: LPIPS on Set5 as published (arXiv 2209.03355) over their bicubic's "
        f"{THEIR_BICUBIC:.3f}, at the speed of their layout with random weights, measured here.\n"
        f"ONNX Runtime on a CPU, {result['threads']} threads, the network alone; bicubic by Pillow. "
        f"Medians of {result['turns']} turns, bars are quartiles. Shares of two protocols compare roughly."
    )


class Place(NamedTuple):
    """A point of the plot: its name, the quartiles and median between them, its height and color."""

    name: str
    across: tuple[float, float, float]
    height: float
    color: str


def place_labels(axes: Any, places: Sequence[Place]) -> None:
    """Writes each name beside its point, where it covers no other name and no point."""
    from matplotlib.transforms import Bbox

    taken = []
    for place in places:
        (left, y), (right, _) = axes.transData.transform([(x, place.height) for x in place.across[::2]])
        taken.append(Bbox.from_extents(left - 6, y - 6, right + 6, y + 6))
    frame = axes.get_window_extent()
    # Right and left of that end of the bar, then above and below, ever farther.
    sides = ((2, 9, "left"), (0, -9, "right"), (1, 0, "center"))
    spots = [(end, right, up, side) for up in (0, 9, -9, 18, -18, 30, -30) for end, right, side in sides]
    style = {"textcoords": "offset points", "va": "center", "fontsize": 9}
    for place in places:
        for spot in spots:
            end, right, up, side = spot
            at = (place.across[end], place.height)
            label = axes.annotate(place.name, at, (right, up), ha=side, color=place.color, **style)
            box = label.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if (inside and not any(box.overlaps(other) for other in taken)) or spot == spots[-1]:
                taken.append(box)
                break
            label.remove()


def check(arguments: argparse.Namespace) -> None:
    """Refuses before the work what would fail after it."""
    if min(arguments.threads, arguments.turns) < 1:
        raise UsageError("--threads and --turns are at least 1")
    if not arguments.data.is_dir():
        raise UsageError(f"--data: there is no folder {arguments.data}")
    for option, suffix in (("json", ".json"), ("picture", ".png")):
        path = getattr(arguments, option)
        if path is not None and (path.suffix != suffix or path.is_dir()):
            raise UsageError(f"--{option} {path} is no name of a {suffix} file")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="Set5's folder, with HR/ and LR/ inside")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--picture", type=Path, help="file for the plot")
    arguments = parser.parse_args(words)
    try:
        check(arguments)
        result = measure(arguments.data, arguments.threads, arguments.turns)
        show(result)
        if arguments.json:
            write_text(arguments.json, json.dumps(result, indent=1) + "\n")
        if arguments.picture:
            draw(result, arguments.picture)
    except SrkdError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")


if __name__ == "__main__":
    main()
