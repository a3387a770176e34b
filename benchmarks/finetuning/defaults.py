"""What the default adversarial fine-tuning does to flat ground and to edges, against earlier defaults.

    srkd prepare PHOTOS packed
    python benchmarks/finetuning/defaults.py --data packed --benchmarks BENCHMARKS --out runs/defaults

BENCHMARKS holds Set5/ and BSD100/. Each variant of the stage starts from the same weights, with the same
seed; runs that `--out` holds already are not repeated. They are scored on Set5 and on the photographs of
BSD100 that have the most flat ground.
"""

import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import srkd
from srkd.errors import UsageError
from srkd.strategies import STRATEGIES

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import (
    check_at_least,
    check_folder,
    check_output,
    make_parser,
    run_script,
    versions,
    write_json,
)

START = "span_s_psnr"
# The losses by which a variant differs from the default stage: in it perceptual images are not shifted and
# nothing works against a lattice, or little does.
_L1 = {"l1": {"weight": 0.01}}
VARIANTS: dict[str, dict[str, Any]] = {
    "without": {"grid": None, "blocking": None, "perceptual": {"options": {"shift": 1}}, **_L1},
    "weak": {"grid": {"weight": 0.125}, "blocking": {"weight": 2.5}, **_L1},
    "default": {},
}
# Those of BSD100 with at least ten squares of 16 pixels that the measure `lattice` counts as flat.
FLAT = ("002", "005", "009", "017", "029", "050", "051", "053", "063", "069", "081", "084")
METRICS = "lattice,halo,flat-noise"
PRECISION = "bf16-mixed"


def train(name: str, arguments: Namespace) -> Path:
    """The fine-tuned weights of a variant."""
    weights = arguments.out / name / "finetune.safetensors"
    if not weights.is_file():
        srkd.finetune(
            arguments.data,
            start=START,
            steps=arguments.steps,
            batch=arguments.batch,
            precision=PRECISION,
            threads=1,
            out=arguments.out / name,
            stages={"finetune": {"losses": VARIANTS[name]}},
            resume=True,
        )
    return weights


def score(models: dict[str, str], benchmarks: Path) -> dict[str, dict[str, dict[str, float]]]:
    """By set and model, mean scores."""
    with tempfile.TemporaryDirectory() as folder:
        flat = Path(folder)
        for name in FLAT:
            source = benchmarks / "BSD100" / "HR" / f"img_{name}.png"
            if not source.is_file():
                raise UsageError(f"--benchmarks: there is no file {source}")
            shutil.copy(source, flat)
        sets = {"Set5": benchmarks / "Set5", "flat": flat}
        return {
            part: {
                name: {
                    key: round(value, 4)
                    for key, value in srkd.evaluate(weights, path, metrics=METRICS)["mean"].items()
                }
                for name, weights in models.items()
            }
            for part, path in sets.items()
        }


def work(arguments: Namespace) -> None:
    check_at_least(1, steps=arguments.steps, batch=arguments.batch)
    check_folder("--data", arguments.data)
    check_folder("--benchmarks", arguments.benchmarks)
    check_output("--json", arguments.json, ".json")
    models = {START: START, **{name: str(train(name, arguments)) for name in VARIANTS}}
    result = {
        "start": START,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "precision": PRECISION,
        "versions": versions("torch"),
        "losses": asdict(STRATEGIES["finetune"].stages["finetune"])["losses"],
        "variants": VARIANTS,
        "flat": list(FLAT),
        "scores": score(models, arguments.benchmarks),
    }
    write_json(arguments.json, result)


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="photographs, packed by srkd prepare")
    add("--benchmarks", type=Path, required=True, help="the folder that holds Set5/ and BSD100/")
    add("--out", type=Path, default=Path("runs/defaults"), help="folder of the runs")
    add("--steps", type=int, default=400, help="of each run")
    add("--batch", type=int, default=4, help="crops per step")
    add("--json", type=Path, default=Path(__file__).with_suffix(".json"), help="file for the scores")
    run_script(parser, work, words)


if __name__ == "__main__":
    main()
