"""What int8 costs and gains: PSNR, and CPU time as a ratio to fp32, in ONNX Runtime, OpenVINO and LiteRT.

Each student is exported as fp32, as plain int8 and as int8 fine-tuned; a student's exports are all timed in
turns, on one thread, on one LR image of 128x128. Needs the extras openvino and litert.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srkd.data import EMBEDDED_TEST, Pair, embedded_photos, find_pairs, read_pair
from srkd.exports.checks import SLOWER, at_any_size
from srkd.exports.formats import FORMATS
from srkd.exports.int8 import fit, read_calibration
from srkd.exports.onnx import to_onnx
from srkd.exports.request import Request, Shape
from srkd.exports.rounding import find_sensitive
from srkd.exports.tuning import tune
from srkd.images.tensors import to_levels, to_planes
from srkd.metrics.scores import protocol_name, psnr
from srkd.models.fusing import fuse
from srkd.runtimes.runner import Run
from srkd.weights.catalogue import find_weights
from srkd.weights.store import load_generator

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.common import (
    check_at_least,
    check_folder,
    check_output,
    machine,
    make_parser,
    run_script,
    versions,
    write_report,
)
from benchmarks.timing import Entry, compare_to, take_turns

RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
SHAPE = Shape((128, 128), 1)
KINDS = ("fp32", "int8", "int8 tuned")


def measure(arguments: argparse.Namespace) -> None:
    """Writes the results and a table."""
    check_at_least(1, turns=arguments.turns, steps=arguments.steps)
    check_folder("--data", arguments.data)
    check_output("--out", arguments.out, ".json")
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "ai-edge-quantizer"),
        "lr": "128x128",
        "threads": 1,
        "turns": arguments.turns,
        "steps": arguments.steps,
        "data": arguments.data.name if arguments.data else "scikit-image",
        "students": {name: _measure_one(name, arguments) for name in arguments.students},
    }
    write_report(arguments.out, result, _tabulate(result))


def _measure_one(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    model = load_generator(find_weights(name))
    images = read_calibration(None, model.scale, model.info.get("degradation", "none"))
    fused = fuse(model)
    floats = find_sensitive(fused, images)
    start = time.process_time()
    tuned = tune(fused, images, arguments.steps, floats=floats)
    seconds = time.process_time() - start
    pairs = _read_pairs(arguments.data, model.scale)
    batch = fit(images[0], SHAPE)
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        for format in RUNTIMES:
            for kind in KINDS:
                network = tuned if kind == "int8 tuned" else fused
                precision = "fp32" if kind == "fp32" else "int8"
                fitting = [fit(image, SHAPE) for image in images]
                graph = to_onnx(network, SHAPE)
                request = Request(
                    model, network, lambda graph=graph: graph, {}, precision, fitting, SHAPE, floats
                )
                path = Path(folder) / f"{format} {kind}{FORMATS[format].suffix}"
                FORMATS[format].write(request, path)
                runs[f"{format}, {kind}"] = _open(format, path)
        entries = [_time(row, run, batch) for row, run in runs.items()]
        found = take_turns(entries, arguments.turns)
        scores = {
            row: _score(at_any_size(run, SHAPE, model.scale), pairs, model.scale) for row, run in runs.items()
        }
    rows = {}
    for format in RUNTIMES:
        compared = compare_to(
            f"{format}, fp32", {row: each for row, each in found.items() if row.startswith(format)}
        )
        for kind in KINDS:
            row = f"{format}, {kind}"
            own = {"psnr": round(scores[row], 3), "loss": round(scores[f"{format}, fp32"] - scores[row], 3)}
            rows[row] = {**own, "time_to_fp32": compared["to_base"].get(row)}
        rows[f"{format}, fp32"]["seconds"] = compared["base_seconds"]
    return {"rows": rows, "floats": list(floats), "tuning_cpu_seconds": round(seconds, 1)}


def _open(format: str, path: Path) -> Run:
    """In one thread, as the others."""
    if format == "onnx":
        from srkd.runtimes import onnxruntime

        return onnxruntime._bind(onnxruntime._start(path, 1))
    if format == "openvino":
        from srkd.runtimes import openvino

        return openvino._compile(path, {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"})[0]
    return FORMATS[format].open(path)


def _time(row: str, run: Run, batch: np.ndarray) -> Entry:
    def turn(_number: int) -> dict[str, float]:
        # CPU time: others' work on the machine counts less.
        start = time.process_time()
        run(batch)
        return {row: time.process_time() - start}

    return turn


def _read_pairs(data: Path | None, scale: int) -> list[Pair]:
    if data is None:
        return [read_pair(path, None, scale) for path in embedded_photos(EMBEDDED_TEST)]
    return [read_pair(hr, lr, scale) for hr, lr in find_pairs(data, scale)]


def _score(run: Run, pairs: Sequence[Pair], scale: int) -> float:
    protocol = protocol_name("y-crop", scale)
    return float(
        np.mean(
            [
                psnr(to_levels(run(to_planes(pair.lr))[0].transpose(1, 2, 0), np.uint8), pair.hr, protocol)
                for pair in pairs
            ]
        )
    )


def _tabulate(result: dict[str, Any]) -> str:
    head = (
        f"# int8 against fp32\n\nPSNR (y-crop) on {result['data']}; CPU time of one thread on an LR image of "
        f"{result['lr']}, in turns with fp32, as the median ratio with quartiles over {result['turns']} "
        f"turns. Tuned: {result['steps']} steps towards the network's own fp32 images.\n"
    )
    lines = [head]
    for name, student in result["students"].items():
        lines += [
            f"\n## {name}\n\nIn float32, beside the first convolution and the last: "
            f"{', '.join(student['floats']) or 'none'}.\n",
            "| runtime | | PSNR, dB | loss, dB | time, fp32 = 1 |",
            "|---|---|---|---|---|",
        ]
        for row, found in student["rows"].items():
            format, kind = row.split(", ")
            numbers = f"{found['psnr']:.2f} | {found['loss']:.2f} | {_describe(found['time_to_fp32'])}"
            lines.append(f"| {RUNTIMES[format]} | {kind} | {numbers} |")
    return "\n".join(lines) + "\n"


def _describe(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return "1"
    low, high = ratio["quartiles"]
    slower = ", slower" if ratio["median"] > SLOWER else ""
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f}){slower}"


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("students", nargs="*", default=["span_s_psnr", "span_s_gan", "compact_48x8_psnr"])
    parser.add_argument("--data", type=Path, help="folder of a benchmark set; without it, three photographs")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/quantisation/table.json"))
    run_script(parser, measure, words)


if __name__ == "__main__":
    main()
