"""What a student's size is worth: networks of many sizes, trained alike, for the quality model of the search.

    srkd prepare PHOTOS packed
    python benchmarks/compress/sizes.py --data packed --json srkd/search/quality.json

Each network starts from the nearest shipped weights, resized as `srkd compress` does it, is trained with L1
and Muon on the same crops, and scored by PSNR on the held-out photographs. The shipped PSNR-trained
students, which were trained for hours, are scored on them too. Networks in the file are not trained again.
"""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import srkd
from srkd.commands.compressing.training import load_trained, make_start
from srkd.data import open_data
from srkd.errors import SrkdError
from srkd.search.candidates import measure_candidate
from srkd.terminal import console
from srkd.training.validation import bicubic_psnr, validate
from srkd.weights.catalogue import list_shipped

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import check_at_least, make_parser, run_script, write_json

SCALE = 4
_LITE = {"tail": "lr", "skip": "bilinear", "residual_init": 0.1}
# Widths and depths that span the candidates; the largest are left out for their time. Of compact those with
# as many convolutions as the shipped one, which alone can start from it. SPAN with 8 channels is left out: in
# so few steps it does not get over the loss of 24 of its 32.
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("span", {"channels": 16}),
    ("srgan", {"channels": 16, "blocks": 4, **_LITE}),
    ("compact", {"channels": 16, "convs": 8}),
    ("srgan", {"channels": 32, "blocks": 2, **_LITE}),
    ("span", {"channels": 24}),
    ("compact", {"channels": 32, "convs": 8}),
    ("srgan", {"channels": 24, "blocks": 8, **_LITE}),
    ("srgan", {"channels": 8, "blocks": 2, **_LITE}),
    ("srgan", {"channels": 16, "blocks": 16, **_LITE}),
    ("srgan", {"channels": 32, "blocks": 1, **_LITE}),
    ("compact", {"channels": 20, "convs": 8}),
    ("span", {"channels": 12}),
    ("srgan", {"channels": 20, "blocks": 4, **_LITE}),
]
SHIPPED = (
    "span_s_psnr",
    "span_xs_psnr",
    "srgan_student_lite_psnr",
    "compact_48x8_psnr",
    "srgan_teacher_psnr",
)


def describe(architecture: str, options: dict[str, Any]) -> dict[str, Any]:
    """What the quality model goes by."""
    found = measure_candidate(architecture, options, SCALE)
    facts = {"parameters": found.parameters, "layers": found.layers, "macs": round(found.macs)}
    return {"architecture": architecture, "options": options, **facts}


def train(architecture: str, options: dict[str, Any], arguments: Namespace) -> float:
    """PSNR after training from the nearest shipped weights."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.safetensors"
        found = make_start(
            measure_candidate(architecture, options, SCALE), SCALE, 0, load_trained(None), start
        )
        if found["how"] == "fresh":
            raise SrkdError(f"{architecture} {options} has nothing to start from")
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
    return run.psnr["pretrain"]


def work(arguments: Namespace) -> None:
    check_at_least(1, steps=arguments.steps, threads=arguments.threads)
    import torch

    held = open_data(arguments.data, SCALE).val
    group = f"{arguments.steps} steps"
    result: dict[str, Any] = {"rows": []}
    if arguments.json.is_file():
        result = json.loads(arguments.json.read_text(encoding="utf-8"))
    result |= {
        "scale": SCALE,
        "photographs": len(held),
        "bicubic": round(bicubic_psnr(held, SCALE), 3),
        "groups": {
            group: "from the nearest shipped, L1, Muon at 2e-3, 8 crops of 64, one seed",
            "shipped": "hours; weights/index.json",
        },
    }
    done = {(row["group"], json.dumps([row["architecture"], row["options"]])) for row in result["rows"]}
    for name in SHIPPED:
        model = srkd.load_generator(name)
        options = {key: value for key, value in (model.config or {}).items() if key not in ("name", "scale")}
        architecture = (model.config or {})["name"]
        if name not in list_shipped() or ("shipped", json.dumps([architecture, options])) in done:
            continue
        psnr, _ = validate(model, held, SCALE, torch.device("cpu"), 0)
        result["rows"].append({"group": "shipped", **describe(architecture, options), "psnr": round(psnr, 3)})
        console.print(f"{name}: {psnr:.2f} dB", markup=False)
        write_json(arguments.json, result)
    for architecture, options in NETWORKS:
        if (group, json.dumps([architecture, options])) in done:
            continue
        psnr = train(architecture, options, arguments)
        result["rows"].append({"group": group, **describe(architecture, options), "psnr": round(psnr, 3)})
        console.print(f"{architecture} {options}: {psnr:.2f} dB", markup=False)
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
