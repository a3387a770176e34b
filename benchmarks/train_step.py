"""The training step of srkd over a bare PyTorch loop with the same model, losses and batch.

    python benchmarks/train_step.py --data PACKED [--device cuda --precision bf16-mixed]
        [--json benchmarks/results/train_step.json]

Both take turns in one process; a ratio is the median over turns, with its quartiles. `--data` is a data set
packed by `srkd prepare` (random images by default). The bare loop gets its batch prepared; the data pipeline
is timed separately. Also measured: shares of a step's time by kind of operator, torch.compile against eager
execution, and distillation from stored teacher outputs against training without. On CUDA also: a bare loop
that is not channels last, CUDA graphs (torch.compile's mode reduce-overhead), peak memory, and the share of a
step in which the GPU computes.
"""

import contextlib
import functools
import itertools
import statistics
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from srkd import create_generator
from srkd.config import Loss, Stage
from srkd.data import Crops, Pair, open_data
from srkd.errors import UsageError, first_line
from srkd.strategies import STRATEGIES
from srkd.training.feeding import to_device
from srkd.training.seeds import hash_int
from srkd.training.state import build_state
from srkd.training.step import train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.bare_step import HALVES, Setting, Step, make_bare_step
from benchmarks.common import (
    check_at_least,
    check_output,
    device_name,
    machine,
    make_parser,
    run_script,
    write_json,
)
from benchmarks.timing import take_turns, time_call

MODEL = "srgan_student_lite"
# Adam in both: the plain choice for a loop written by hand.
STAGES = {
    "PSNR stage": replace(STRATEGIES["pretrain"].stages["pretrain"], optimizer="adam", rate=5e-4),
    "GAN stage": STRATEGIES["finetune"].stages["finetune"],
}
# Operators of a profile, by purpose.
GROUPS = {
    "convolution, backward": ("aten::convolution_backward",),
    "convolution, forward": ("aten::mkldnn_convolution", "aten::_slow_conv2d_forward", "aten::cudnn_conv"),
    "PReLU": ("aten::_prelu_kernel", "aten::_prelu_kernel_backward"),
    "ReLU and max-pooling": ("aten::relu", "aten::threshold_backward", "aten::clamp_min", "max_pool"),
    "batch normalisation": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "enlarging": ("upsample", "pixel_shuffle"),
    "optimiser and average": ("Optimizer", "aten::_fused_adam_", "aten::lerp_", "aten::_foreach"),
    "copies": ("aten::copy_",),
}


def make_step(
    setting: Setting, stage: Stage, batches: Callable[[int], Sequence[Tensor]], compile: str | None = None
) -> Step:
    """A function that takes the next step as `srkd train` does, without logs and checkpoints.

    Args:
        setting: where and how.
        stage: its losses and critics.
        batches: LR, HR and stored teacher outputs by number of the step.
        compile: torch.compile's mode; eager when not given.
    """
    torch.manual_seed(0)
    # `--compile` has torch.compile's default mode.
    chosen = functools.partial(torch.compile, mode=compile)
    with mock.patch.object(torch, "compile", chosen) if compile else contextlib.nullcontext():
        network = create_generator(setting.model)
        state = build_state(setting.fabric(), stage, [network], {}, [], 0, compile=compile is not None)
    numbers = itertools.count()

    def take() -> None:
        step = next(numbers)
        torch.manual_seed(hash_int(f"0/stage/{step}/0"))
        if compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        state.set_rates(step)
        lr, hr, *targets = batches(step)
        train_step(state, [(lr, hr, tuple(targets))], step)

    return take


def make_loader(crops: Crops, device: torch.device) -> Callable[[int], list[Tensor]]:
    """The data of a step by its number, cropped and converted to tensors."""
    return lambda step: to_device(crops(step), device)


def stored_to_none(setting: Setting, plain: Stage, pairs: list[Pair], turns: int) -> dict[str, Any]:
    """A step that distils from stored teacher outputs over one without distillation, with their data."""
    distilled = replace(plain, losses={**plain.losses, "output": Loss()})
    # HR stands in for the teacher outputs: the pixels do not matter for speed.
    pairs = [replace(pair, targets=(pair.hr,)) for pair in pairs]
    steps = {}
    for name, stage in (("none", plain), ("stored", distilled)):
        crops = Crops(pairs, stage.crop, stage.batch, 4, [0, 0], targets=name == "stored")
        steps[name] = make_step(setting, stage, make_loader(crops, setting.device))
    seconds = time_steps(setting, steps, turns, 10)
    return ratio(seconds["stored"], seconds["none"])


def time_steps(setting: Setting, steps: Mapping[str, Step], turns: int, block: int) -> dict[str, list[float]]:
    """Seconds per step of each, turn by turn; a turn takes `block` steps."""

    def take(step: Step) -> None:
        for _ in range(block):
            step()
        setting.wait()

    def entry(name: str, step: Step) -> Callable[[int], dict[str, float]]:
        return lambda turn: {name: time_call(lambda: take(step)) / block}

    return take_turns([entry(name, step) for name, step in steps.items()], turns)


def ratio(a: list[float], b: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios within a turn."""
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": round(middle, 4), "quartiles": [round(low, 4), round(high, 4)], "turns": len(ratios)}


def where_time_goes(setting: Setting, step: Step, count: int) -> tuple[dict[str, float], float]:
    """Shares of the device's time by group of operators, and its seconds of a step."""
    on_cuda = setting.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_cuda]
    with profile(activities=activities) as profiler:
        for _ in range(count):
            step()
        setting.wait()
    spent = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    # Kernels have events of their own besides those of the operators that they belong to.
    events = [event for event in profiler.key_averages() if event.device_type == DeviceType.CPU]
    total = sum(getattr(event, spent) for event in events)
    shares = dict.fromkeys([*GROUPS, "everything else"], 0.0)
    for event in events:
        names = (name for name, parts in GROUPS.items() if any(part in event.key for part in parts))
        shares[next(names, "everything else")] += getattr(event, spent) / max(total, 1e-9)
    return {name: round(share, 3) for name, share in shares.items()}, total / count / 1e6


def peak_bytes(setting: Setting, step: Step) -> int:
    """The most memory that a step has on the GPU, what others left there included."""
    torch.cuda.reset_peak_memory_stats(setting.device)
    step()
    setting.wait()
    return torch.cuda.max_memory_allocated(setting.device)


def random_pairs() -> list[Pair]:
    rng = np.random.default_rng(0)
    sizes = [(120, 80), (256, 384)] * 8
    return [
        Pair(str(k), *(rng.integers(0, 256, (h * f, w * f, 3), dtype=np.uint8) for f in (1, 4)))
        for k, (h, w) in enumerate(sizes)
    ]


def measure_stage(
    setting: Setting, name: str, stage: Stage, pairs: list[Pair], turns: int, modes: Sequence[str]
) -> dict[str, Any]:
    """The figures of one stage; prints where its time goes."""
    crops = Crops(pairs, stage.crop, stage.batch, 4, [0, 0])
    load, numbers = make_loader(crops, setting.device), itertools.count()
    lr, hr = load(0)
    ours = make_step(setting, stage, lambda step: (lr, hr))
    on_cuda = setting.device.type == "cuda"
    block = (10 if on_cuda else 2) if stage.critics else (40 if on_cuda else 10)
    bare = make_bare_step(setting, stage, lr, hr)
    steps = {"ours": ours, "bare": bare, "data": lambda: load(next(numbers))}
    found: dict[str, Any] = {}
    if on_cuda:
        steps["bare_channels_first"] = make_bare_step(setting, stage, lr, hr, channels_last=False)
        found["peak_bytes"] = {row: peak_bytes(setting, steps[row]) for row in ("ours", "bare")}
    seconds = time_steps(setting, steps, turns, block)
    middle = {row: statistics.median(each) for row, each in seconds.items()}
    found |= {
        "bare_seconds": float(f"{middle['bare']:.4g}"),
        "ours_to_bare": ratio(seconds["ours"], seconds["bare"]),
        "data_to_bare": ratio(seconds["data"], seconds["bare"]),
    }
    found["profile"], busy = where_time_goes(setting, ours, block)
    if on_cuda:
        found["channels_first_to_last"] = ratio(seconds["bare_channels_first"], seconds["bare"])
        found["gpu_busy"] = round(busy / middle["ours"], 3)
    for mode in modes:
        key = "compile_to_eager" if mode == "default" else f"compile_{mode}_to_eager"
        found[key] = compile_to_eager(setting, stage, ours, (lr, hr), mode, max(turns // 3, 2), block)
    print(f"\n{name}: where the time goes")
    for group, share in sorted(found["profile"].items(), key=lambda item: -item[1]):
        print(f"  {group:<28}{share:6.1%}")
    return found


def compile_to_eager(
    setting: Setting, stage: Stage, eager: Step, batch: Sequence[Tensor], mode: str, turns: int, block: int
) -> Any:
    """The ratio of a mode of torch.compile, or why there is none."""
    try:
        compiled = make_step(setting, stage, lambda step: batch, mode)
        seconds = time_steps(setting, {"eager": eager, "compile": compiled}, turns, block)
        return ratio(seconds["compile"], seconds["eager"])
    except Exception as error:  # no compiler, or a network that torch.compile does not support
        return first_line(error)


def show(result: Mapping[str, Any]) -> None:
    print(f"\n{result['device']}, {result['precision']}: ratios, median over turns (quartiles)")
    for name, found in result["stages"].items():
        for key, value in found.items():
            if key == "profile":
                continue
            text = f"{value['median']:.3f} {value['quartiles']}" if "median" in str(value) else value
            print(f"  {name}, {key.replace('_', ' ')}: {text}")
    stored = result["stored_teacher_to_none"]
    print(f"  distilling from stored outputs, to none: {stored['median']:.3f} {stored['quartiles']}")


def work(arguments: Namespace) -> None:
    check_at_least(1, batch=arguments.batch, crop=arguments.crop)
    check_at_least(2, turns=arguments.turns)
    check_output("--json", arguments.json)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: there is no CUDA here")
    setting = Setting(torch.device(arguments.device), arguments.precision, arguments.model)
    modes = [] if arguments.no_compile else ["default", *["reduce-overhead"] * (arguments.device == "cuda")]
    pairs = open_data(arguments.data, 4, smallest=96).train if arguments.data else random_pairs()
    sizes = {"batch": arguments.batch, "crop": arguments.crop}
    stages = {name: replace(stage, **sizes) for name, stage in STAGES.items()}
    result: dict[str, Any] = {
        "model": setting.model,
        **sizes,
        "machine": machine(),
        "device": device_name(setting.device),
        "precision": setting.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "stages": {
            name: measure_stage(setting, name, stage, pairs, arguments.turns, modes)
            for name, stage in stages.items()
        },
        "stored_teacher_to_none": stored_to_none(setting, stages["PSNR stage"], pairs, arguments.turns),
    }
    show(result)
    if arguments.json:
        write_json(arguments.json, result)


def main() -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", help="a data set packed by srkd prepare; random images by default")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--precision", choices=("32-true", *HALVES), default="32-true")
    add("--model", default=MODEL, help="the generator")
    add("--turns", type=int, default=10, help="measured turns, after one to warm up")
    add("--batch", type=int, default=16)
    add("--crop", type=int, default=96, help="side of the HR crops")
    add("--no-compile", action="store_true", help="leave torch.compile out")
    add("--json", type=Path, help="file for the figures")
    run_script(parser, work)


if __name__ == "__main__":
    main()
