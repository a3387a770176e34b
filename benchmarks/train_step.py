"""What srkd's training step costs over a bare PyTorch loop of the same model, losses and batch.

    python benchmarks/train_step.py --data PACKED [--json benchmarks/results/train_step.json]

Ours and the bare loop take turns within one process; a ratio is the median over turns, with its quartiles.
`--data` is a data set packed by `srkd prepare` (random images when not given); the bare loop is given its
batch ready-made, and the data pipeline is timed apart. Then a profile of where a step's time goes, and
torch.compile and oneDNN's fast math against plain eager execution.
"""

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn
from torch.profiler import ProfilerActivity, profile

from srkd import create_discriminator, create_generator
from srkd.data import Crops, Pair, open_data
from srkd.files import write_text
from srkd.perceptual import load_trunk
from srkd.strategies import STRATEGIES, Loss, Stage
from srkd.training.fit import to_tensor
from srkd.training.state import build_state, hash_int, term_weights
from srkd.training.step import train_step

MODEL = "srgan_student_lite"
# Adam in both, which is what one would write by hand.
STAGES = {
    "PSNR stage": replace(STRATEGIES["pretrain"].stages["pretrain"], optimizer="adam", rate=5e-4),
    "GAN stage": STRATEGIES["finetune"].stages["finetune"],
}
# A profile's operators, gathered under names that say what they are for.
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


def ours(stage: Stage, lr: torch.Tensor, hr: torch.Tensor, compile: bool = False) -> Callable[[], None]:
    """A function that takes one step, with all that a run does in it but its data, logs and checkpoints."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    state = build_state(fabric, stage, [create_generator(MODEL)], {}, [], 0, compile=compile)
    step = 0

    def take() -> None:
        nonlocal step
        torch.manual_seed(hash_int(f"0/stage/{step}/0"))
        state.set_rates(step)
        train_step(state, [(lr, hr, ())], term_weights(stage, step))
        step += 1

    return take


def bare(stage: Stage, lr: torch.Tensor, hr: torch.Tensor) -> Callable[[], None]:
    """The same step as one would write it by hand: channels last, fused Adam, averaged weights."""
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


def loading(crops: Crops, fabric: Fabric) -> Callable[[], None]:
    """The data of one step: cut, and made into tensors."""
    step = 0

    def take() -> None:
        nonlocal step
        batch = crops(step)
        to_tensor(fabric, batch.lr), to_tensor(fabric, batch.hr)
        step += 1

    return take


def with_data(stage: Stage, crops: Crops) -> Callable[[], None]:
    """Our step with its data, stored teachers' outputs included where the stage looks at a teacher."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1)
    state = build_state(fabric, stage, [create_generator(MODEL)], {}, [], 0)
    step = 0

    def take() -> None:
        nonlocal step
        batch = crops(step)
        lr, hr, *targets = (to_tensor(fabric, images) for images in (batch.lr, batch.hr, *batch.targets))
        train_step(state, [(lr, hr, tuple(targets))], term_weights(stage, step))
        step += 1

    return take


def stored_to_none(pairs: list[Pair], batch: int, turns: int) -> dict[str, Any]:
    """A step that distils from stored outputs of a teacher, over one without distillation."""
    plain = replace(STAGES["PSNR stage"], batch=batch)
    taught = replace(plain, losses={**plain.losses, "output": Loss()})
    # Any pixels will do for a teacher's: HR's own.
    pairs = [replace(pair, targets=(pair.hr,)) for pair in pairs]
    steps = {
        name: with_data(stage, Crops(pairs, stage.crop, batch, 4, [0, 0], targets=name == "stored"))
        for name, stage in (("none", plain), ("stored", taught))
    }
    seconds = take_turns(steps, turns, 10)
    return ratio(seconds["stored"], seconds["none"])


def take_turns(steps: dict[str, Callable[[], None]], turns: int, block: int) -> dict[str, list[float]]:
    """Seconds per step of each, turn by turn."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-1, turns):
        order = list(steps) if turn % 2 else list(steps)[::-1]
        for name in order:
            began = time.perf_counter()
            for _ in range(block):
                steps[name]()
            if turn >= 0:  # the first turn warms up
                found[name].append((time.perf_counter() - began) / block)
    return found


def ratio(a: list[float], b: list[float]) -> dict[str, Any]:
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": round(middle, 4), "quartiles": [round(low, 4), round(high, 4)], "turns": len(ratios)}


def where_time_goes(step: Callable[[], None], count: int) -> dict[str, float]:
    """Share of CPU time by group of operators."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="a data set packed by srkd prepare")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    pairs = open_data(arguments.data, 4, smallest=96).train if arguments.data else random_pairs()
    fabric = Fabric(accelerator="cpu", devices=1)
    result: dict[str, Any] = {
        "model": MODEL,
        "batch": arguments.batch,
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "stages": {},
    }
    for name, stage in STAGES.items():
        stage = replace(stage, batch=arguments.batch)
        crops = Crops(pairs, stage.crop, stage.batch, 4, [0, 0])
        batch = crops(0)
        lr, hr = to_tensor(fabric, batch.lr), to_tensor(fabric, batch.hr)
        block = 2 if stage.critics else 10
        steps = {"ours": ours(stage, lr, hr), "bare": bare(stage, lr, hr), "data": loading(crops, fabric)}
        seconds = take_turns(steps, arguments.turns, block)
        middle = statistics.median(seconds["bare"])
        found = {
            "bare_seconds": round(middle, 4),
            "ours_to_bare": ratio(seconds["ours"], seconds["bare"]),
            "data_to_bare": ratio(seconds["data"], seconds["bare"]),
            "profile": where_time_goes(steps["ours"], block),
        }
        tries: dict[str, Callable[[], None]] = {"eager": steps["ours"], "compile": ours(stage, lr, hr, True)}
        try:
            seconds = take_turns(tries, max(arguments.turns // 3, 2), block)
            found["compile_to_eager"] = ratio(seconds["compile"], seconds["eager"])
        except Exception as error:  # no compiler, or a network that it cannot take
            found["compile_to_eager"] = str(error).splitlines()[0]
        result["stages"][name] = found
        print(f"\n{name}: where the time goes")
        for group, share in sorted(found["profile"].items(), key=lambda item: -item[1]):
            print(f"  {group:<28}{share:6.1%}")
    result["stored_teacher_to_none"] = stored_to_none(pairs, arguments.batch, arguments.turns)
    print("\nratios, median over turns (quartiles)")
    for name, found in result["stages"].items():
        for key in ("ours_to_bare", "data_to_bare", "compile_to_eager"):
            value = found[key]
            text = f"{value['median']:.3f} {value['quartiles']}" if isinstance(value, dict) else value
            print(f"  {name}, {key.replace('_', ' ')}: {text}")
    stored = result["stored_teacher_to_none"]
    print(f"  distilling from stored outputs, to none: {stored['median']:.3f} {stored['quartiles']}")
    if arguments.json:
        write_text(Path(arguments.json), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
