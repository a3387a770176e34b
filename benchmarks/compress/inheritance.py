"""What a start is worth: students from the nearest shipped weights, resized, against fresh ones, at equal
steps.

    srkd prepare PHOTOS packed
    python benchmarks/compress/inheritance.py --data packed --json benchmarks/compress/inheritance.json

Each student is trained twice on the same crops, from fresh weights and from the start that `srkd compress`
makes, and scored by PSNR on the held-out photographs, before and after. Runs in the file are not repeated.
"""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import srkd
from srkd.commands.compressing.training import load_trained, make_start
from srkd.data import open_data
from srkd.search.candidates import measure_candidate
from srkd.terminal import console
from srkd.training.validation import bicubic_psnr, validate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, make_parser, run_script, write_json

SCALE = 4
_LITE = {"tail": "lr", "skip": "bilinear", "residual_init": 0.1}
# Fewer channels in each architecture, and fewer blocks.
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "compact 32x8": ("compact", {"channels": 32, "convs": 8}),
    "span 24": ("span", {"channels": 24}),
    "srgan 24x8": ("srgan", {"channels": 24, "blocks": 8, **_LITE}),
    "srgan 32x2": ("srgan", {"channels": 32, "blocks": 2, **_LITE}),
}


def train(name: str, fresh: bool, arguments: Namespace, held: Sequence[Any]) -> dict[str, Any]:
    """PSNR before and after training."""
    architecture, options = STUDENTS[name]
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.safetensors"
        made = make_start(
            measure_candidate(architecture, options, SCALE),
            SCALE,
            0,
            {} if fresh else load_trained(None),
            start,
        )
        before, _ = validate(srkd.load_generator(start), held, SCALE, torch.device("cpu"), 0)
        run = srkd.train(
            arguments.data,
            strategy="pretrain",
            start=start,
            scale=SCALE,
            steps=arguments.steps,
            batch=8,
            crop=64,
            out=Path(folder) / "run",
            stages={"pretrain": {"ema": 0.97, "rate": 2e-3}},
            validate_every=arguments.steps,
            save_every=arguments.steps,
            threads=arguments.threads,
            device="cpu",
            verbose=False,
        )
    scores = {"before": round(before, 3), "after": round(run.psnr["pretrain"], 3)}
    return {"student": name, "start": made["said"], **scores}


def work(arguments: Namespace) -> None:
    check_at_least(1, steps=arguments.steps, threads=arguments.threads)
    held = open_data(arguments.data, SCALE).val
    result: dict[str, Any] = {"rows": []}
    if arguments.json.is_file():
        result = json.loads(arguments.json.read_text(encoding="utf-8"))
    result |= {
        "steps": arguments.steps,
        "photographs": len(held),
        "bicubic": round(bicubic_psnr(held, SCALE), 3),
        "training": "L1, Muon at 2e-3, 8 crops of 64, one seed",
    }
    done = {(row["student"], row["start"] == "fresh weights") for row in result["rows"]}
    for name in STUDENTS:
        for fresh in (True, False):
            if (name, fresh) in done:
                continue
            row = train(name, fresh, arguments, held)
            console.print(f"{name} from {row['start']}: {row['before']} dB, {row['after']} dB", markup=False)
            result["rows"].append(row)
            write_json(arguments.json, result)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", required=True, help="a packed data set")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    run_script(parser, work, words)


if __name__ == "__main__":
    main()
