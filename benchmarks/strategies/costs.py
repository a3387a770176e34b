"""Parameters, multiply-accumulates and latency of the rows."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import srkd
from benchmarks.common import machine
from benchmarks.runtimes import (
    RANDOM_TEACHER,
    SCALE,
    Enlarge,
    architecture,
    enlarge_bicubic,
    export_teacher,
    on_pixels,
    open_onnx,
    open_torch,
    random_image,
)
from benchmarks.strategies.rows import Row
from benchmarks.timing import compare_to, take_turns, timed
from srkd.exports.writing import write_onnx
from srkd.models.cost import count_macs, count_parameters
from srkd.terminal import console

# LR pixels for latency.
SIZE = (128, 96)


def find_costs(rows: Sequence[Row], threads: int, turns: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The costs of each row, and how latency was measured. Networks of one architecture are timed once."""
    costs, names = [], []
    distinct: dict[str, Row] = {}
    for row in rows:
        path = row.weights[0]
        if path == "bicubic":
            costs.append({"parameters": 0, "macs": 0})
            names.append("bicubic")
        else:
            model: Any = srkd.load_generator(path)
            costs.append({"parameters": count_parameters(model), "macs": try_macs(model)})
            names.append(architecture(model, row.name))
        distinct.setdefault(names[-1], row)
    latency = time_models(distinct, threads, turns) if turns else {}
    ratios = latency.pop("to_base", {})
    for name, cost in zip(names, costs, strict=True):
        cost["latency"] = ratios.get(name)
    return costs, latency


def try_macs(model: Any) -> int | None:
    """Multiply-accumulates; None for a foreign network that does not run on the meta device."""
    try:
        return count_macs(model, SCALE)
    except (RuntimeError, NotImplementedError, ValueError):
        if hasattr(model, "config"):
            raise
        return None


def time_models(rows: Mapping[str, Row], threads: int, turns: int) -> dict[str, Any]:
    """Ratios to the time of the teacher with random weights."""
    lr = random_image(SIZE)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        works = {RANDOM_TEACHER: on_pixels(open_onnx(export_teacher(folder), threads))}
        for number, (name, row) in enumerate(rows.items()):
            works[name] = open_runtime(row, folder / f"{number}.onnx", threads)
        console.print(f"latency: {len(works)} networks, {turns} turns", markup=False)
        entries = [timed(name, lambda work=work: work(lr)) for name, work in works.items()]
        found = compare_to(RANDOM_TEACHER, take_turns(entries, turns))
    return {
        "size": f"{SIZE[0]}x{SIZE[1]}",
        "threads": threads,
        "machine": machine(),
        "runtime": "ONNX Runtime; DAT-light by torch, bicubic by Pillow",
        **found,
    }


def open_runtime(row: Row, onnx: Path, threads: int) -> Enlarge:
    path = row.weights[0]
    if path == "bicubic":
        return enlarge_bicubic
    model: Any = srkd.load_generator(path)
    if not hasattr(model, "config"):
        return on_pixels(open_torch(Path(path), threads))
    write_onnx(model, onnx)
    return on_pixels(open_onnx(onnx, threads))
