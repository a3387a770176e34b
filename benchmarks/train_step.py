"""The training step of srkd over a bare PyTorch loop with the same model, losses and batch.

    python benchmarks/train_step.py --data PACKED [--json benchmarks/results/train_step.json]

Both take turns in one process; a ratio is the median over turns, with its quartiles. `--data` is a data set
packed by `srkd prepare` (random images by default). The bare loop gets its batch prepared; the data pipeline
is timed separately. Also measured: shares of a step's time by kind of operator, torch.compile against eager
execution, and distillation from stored teacher outputs against training without.
"""

import copy
import itertools
import statistics
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from srkd import create_discriminator, create_generator
from srkd.config import Loss, Stage
from srkd.data import Crops, Pair, open_data
from srkd.images.tensors import to_batch
from srkd.metrics.trunks import load_trunk
from srkd.strategies import STRATEGIES
from srkd.training.seeds import hash_int
from srkd.training.state import build_state
from srkd.training.step import train_step

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.common import check_at_least, check_output, machine, make_parser, run_script, write_json
from benchmarks.timing import take_turns, timed

Step = Callable[[], None]

MODEL = "srgan_student_lite"
# Adam in both: the plain choice for a loop written by hand.
STAGES = {
    "PSNR stage": replace(STRATEGIES["pretrain"].stages["pretrain"], optimizer="adam", rate=5e-4),
    "GAN stage": STRATEGIES["finetune"].stages["finetune"],
}
# Operators of a profile, by purpose.
GROUPS = {
    "convolution, backward": ("aten::convolution_backward",),
    "convolution, forward": ("aten::mkldnn_convolution", "aten::_slow_conv2d_forward"),
    "PReLU": ("aten::_prelu_kernel", "aten::_prelu_kernel_backward"),
    "ReLU and max-pooling": ("aten::relu", "aten::threshold_backward", "aten::clamp_min", "max_pool"),
    "batch normalisation": ("aten::native_batch_norm", "aten::native_batch_norm_backward"),
    "enlarging": ("upsample", "pixel_shuffle"),
    "optimiser and average": ("Optimizer", "aten::_fused_adam_", "aten::lerp_", "aten::_foreach"),
    "copies": ("aten::copy_",),
}


def make_fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def make_step(stage: Stage, batches: Callable[[int], Sequence[Tensor]], compile: bool = False) -> Step:
    """A function that takes the next step as `srkd train` does, without logs and checkpoints.

    Args:
        stage: its losses and critics.
        batches: LR, HR and stored teacher outputs by number of the step.
        compile: whether to use torch.compile.
    """
    torch.manual_seed(0)
    state = build_state(make_fabric(), stage, [create_generator(MODEL)], {}, [], 0, compile=compile)
    numbers = itertools.count()

    def take() -> None:
        step = next(numbers)
        torch.manual_seed(hash_int(f"0/stage/{step}/0"))
        state.set_rates(step)
        lr, hr, *targets = batches(step)
        train_step(state, [(lr, hr, tuple(targets))], step)

    return take


def make_bare_step(stage: Stage, lr: Tensor, hr: Tensor) -> Callable[[], None]:
    """The same step written by hand: channels last, fused Adam, averaged weights."""
    torch.manual_seed(0)
    generator = create_generator(MODEL).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(generator).requires_grad_(False)
    optimizer = torch.optim.Adam(generator.parameters(), lr=stage.rate, betas=(0.9, 0.99), fused=True)
    own, other = list(generator.parameters()), list(average.parameters())

    def finish() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(other, own, 1 - stage.ema)

    if not stage.critics:

        def take() -> None:
            F.l1_loss(generator(lr), hr).backward()
            finish()

        return take

    (critic_spec,) = stage.critics.values()
    critic = create_discriminator(critic_spec.name, **critic_spec.options)
    critic = critic.to(memory_format=torch.channels_last).train()
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=stage.rate, betas=(0.9, 0.99), fused=True)
    trunk = load_trunk("st-vgg", None)
    bce = nn.BCEWithLogitsLoss()

    def take_gan() -> None:
        sr = generator(lr)
        real, fake = critic(hr), critic(sr.detach())
        (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))).backward()
        critic_optimizer.step()
        critic_optimizer.zero_grad(set_to_none=True)
        critic.requires_grad_(False)
        with torch.no_grad():
            targets = trunk(hr)
        features = trunk(sr)
        content = [F.l1_loss(features[k], targets[k]) / targets[k].abs().mean() for k in targets]
        fake = critic(sr)
        loss = stage.losses["perceptual"].weight * torch.stack(content).mean()
        loss = loss + stage.losses["l1"].weight * F.l1_loss(sr, hr)
        loss = loss + critic_spec.weight * bce(fake, torch.ones_like(fake))
        loss.backward()
        finish()
        critic.requires_grad_(True)

    return take_gan


def make_loader(crops: Crops) -> Callable[[int], list[Tensor]]:
    """The data of a step by its number, cropped and converted to tensors."""

    def load(step: int) -> list[Tensor]:
        batch = crops(step)
        return [to_batch(images) for images in (batch.lr, batch.hr, *batch.targets)]

    return load


def stored_to_none(pairs: list[Pair], batch: int, turns: int) -> dict[str, Any]:
    """A step that distils from stored teacher outputs over one without distillation, with their data."""
    plain = replace(STAGES["PSNR stage"], batch=batch)
    distilled = replace(plain, losses={**plain.losses, "output": Loss()})
    # HR stands in for the teacher outputs: the pixels do not matter for speed.
    pairs = [replace(pair, targets=(pair.hr,)) for pair in pairs]
    steps = {
        name: make_step(
            stage, make_loader(Crops(pairs, stage.crop, batch, 4, [0, 0], targets=name == "stored"))
        )
        for name, stage in (("none", plain), ("stored", distilled))
    }
    seconds = time_steps(steps, turns, 10)
    return ratio(seconds["stored"], seconds["none"])


def time_steps(steps: Mapping[str, Step], turns: int, block: int) -> dict[str, list[float]]:
    """Seconds per step of each, turn by turn; a turn takes `block` steps."""
    return take_turns([timed(name, step, block) for name, step in steps.items()], turns)


def ratio(a: list[float], b: list[float]) -> dict[str, Any]:
    """Median and quartiles of the ratios within a turn."""
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": round(middle, 4), "quartiles": [round(low, 4), round(high, 4)], "turns": len(ratios)}


def where_time_goes(step: Callable[[], None], count: int) -> dict[str, float]:
    """Shares of CPU time by group of operators."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(count):
            step()
    events = [(event.key, event.self_cpu_time_total) for event in profiler.key_averages()]
    total = sum(spent for _, spent in events)
    shares = dict.fromkeys([*GROUPS, "everything else"], 0.0)
    for key, spent in events:
        names = (name for name, parts in GROUPS.items() if any(part in key for part in parts))
        shares[next(names, "everything else")] += spent / total
    return {name: round(share, 3) for name, share in shares.items()}


def random_pairs() -> list[Pair]:
    rng = np.random.default_rng(0)
    sizes = [(120, 80), (256, 384)] * 8
    return [
        Pair(str(k), *(rng.integers(0, 256, (h * f, w * f, 3), dtype=np.uint8) for f in (1, 4)))
        for k, (h, w) in enumerate(sizes)
    ]


def measure_stage(name: str, stage: Stage, pairs: list[Pair], turns: int) -> dict[str, Any]:
    """The figures of one stage; prints where its time goes."""
    crops = Crops(pairs, stage.crop, stage.batch, 4, [0, 0])
    load, numbers = make_loader(crops), itertools.count()
    lr, hr = load(0)
    ours = make_step(stage, lambda step: (lr, hr))
    block = 2 if stage.critics else 10
    steps = {"ours": ours, "bare": make_bare_step(stage, lr, hr), "data": lambda: load(next(numbers))}
    seconds = time_steps(steps, turns, block)
    found = {
        "bare_seconds": round(statistics.median(seconds["bare"]), 4),
        "ours_to_bare": ratio(seconds["ours"], seconds["bare"]),
        "data_to_bare": ratio(seconds["data"], seconds["bare"]),
        "profile": where_time_goes(ours, block),
    }
    compiled = make_step(stage, lambda step: (lr, hr), compile=True)
    try:
        seconds = time_steps({"eager": ours, "compile": compiled}, max(turns // 3, 2), block)
        found["compile_to_eager"] = ratio(seconds["compile"], seconds["eager"])
    except Exception as error:  # no compiler, or a network that torch.compile does not support
        found["compile_to_eager"] = str(error).splitlines()[0]
    print(f"\n{name}: where the time goes")
    for group, share in sorted(found["profile"].items(), key=lambda item: -item[1]):
        print(f"  {group:<28}{share:6.1%}")
    return found


def show(result: Mapping[str, Any]) -> None:
    print("\nratios, median over turns (quartiles)")
    for name, found in result["stages"].items():
        for key in ("ours_to_bare", "data_to_bare", "compile_to_eager"):
            value = found[key]
            text = f"{value['median']:.3f} {value['quartiles']}" if isinstance(value, dict) else value
            print(f"  {name}, {key.replace('_', ' ')}: {text}")
    stored = result["stored_teacher_to_none"]
    print(f"  distilling from stored outputs, to none: {stored['median']:.3f} {stored['quartiles']}")


def work(arguments: Namespace) -> None:
    check_at_least(1, batch=arguments.batch)
    check_at_least(2, turns=arguments.turns)
    check_output("--json", arguments.json)
    pairs = open_data(arguments.data, 4, smallest=96).train if arguments.data else random_pairs()
    result: dict[str, Any] = {
        "model": MODEL,
        "batch": arguments.batch,
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "stages": {
            name: measure_stage(name, replace(stage, batch=arguments.batch), pairs, arguments.turns)
            for name, stage in STAGES.items()
        },
        "stored_teacher_to_none": stored_to_none(pairs, arguments.batch, arguments.turns),
    }
    show(result)
    if arguments.json:
        write_json(arguments.json, result)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", help="a data set packed by srkd prepare; random images by default")
    parser.add_argument("--turns", type=int, default=10, help="measured turns, after one to warm up")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", type=Path, help="file for the figures")
    run_script(parser, work)


if __name__ == "__main__":
    main()
