"""Trained generators in the formats of other programs, each run in its own runtime before it counts."""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srkd.catalog import find_weights, list_shipped
from srkd.errors import UsageError
from srkd.exports.checks import BOUNDS, compare, weigh
from srkd.exports.formats import FORMATS, OPSET, Format, Precision, Request, to_onnx
from srkd.exports.int8 import read_calibration
from srkd.files import console, publish


def export(
    weights: str,
    *,
    format: Literal["onnx", "safetensors", "pt2", "openvino", "ncnn"] = "onnx",
    precision: Precision = "fp32",
    calibrate: str | None = None,
    branch: int | None = None,
    out: str | None = None,
) -> Path:
    """Export a trained generator, and check that the result computes the same.

    All formats but safetensors hold the fused network: batch norm folded, re-parameterised blocks merged.
    Each is run in its own runtime on several sizes and compared with torch; what differs is not written.

    Args:
        weights: a weights file of this package, or a shipped name.
        format: `onnx` (dynamic batch, height and width), `safetensors` (training keys; spandrel and its
            programs load Compact and SPAN), `pt2` (torch.export), `openvino` (.xml and .bin) or `ncnn`
            (.param and .bin, with blobs `data` and `output`).
        precision: `fp32`; `fp16` for ONNX (its input and output stay float32), OpenVINO and ncnn; `int8` for
            ONNX, static and per channel.
        calibrate: for int8, a folder of HR photographs, whose LR images set the ranges; those that
            scikit-image installs when not given.
        branch: of a generator of several branches, the one to export alone, from 0; their mean when not
            given.
        out: the file to write; when not given beside the weights, of shipped ones in the current folder, with
            the format's suffix.

    Returns:
        The file written.

    Raises:
        UsageError: no such weights, weights of another package, a format that has no such precision or
            whose package is not installed, or an output that is its own input or would replace a file that
            is not its own.
        SrkdError: the exported model computes something else.
    """
    from srkd.weights import load_generator

    source, kind = find_weights(weights), FORMATS[format]
    if precision not in kind.precisions:
        raise UsageError(f"{format} is exported as {' or '.join(kind.precisions)}, not {precision}")
    if calibrate is not None and precision != "int8":
        raise UsageError("--calibrate goes with --precision int8")
    _need(format, kind.packages)
    ending = kind.suffix if precision == "fp32" else f".{precision}{kind.suffix}"
    # Of shipped weights not beside them, which is inside the installed package.
    folder = Path() if weights in list_shipped() else source.parent
    target = Path(out) if out else folder / f"{source.stem}{ending}"
    if target.suffix != kind.suffix:
        raise UsageError(f"{target} does not end in {kind.suffix}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the file to export; give another --out")
    _need_room(target, kind)
    model: Any = load_generator(source)
    if not hasattr(model, "config"):
        raise UsageError(f"{source} holds weights of another package; export takes those of srkd")
    if branch is not None:
        if not hasattr(model, "select_branch"):
            raise UsageError(f"{source} has no branches to choose from")
        info = model.info
        model = model.select_branch(branch).eval()
        model.info = info
    entry = list_shipped().get(str(weights), {})
    facts = {key: entry[key] for key in ("license", "scores") if key in entry}
    calibration = read_calibration(calibrate, model.scale) if precision == "int8" else []
    said = _write(model, target, format, precision, calibration, facts)
    console.print(said, markup=False)
    return target


def write_onnx(
    model: Any,
    target: Path,
    precision: Precision = "fp32",
    calibration: Sequence[np.ndarray] = (),
    **header: Any,
) -> None:
    """Writes a generator of this package to an ONNX file, fused and checked, without a word.

    Args:
        model: the generator, in eval mode.
        target: a name ending in `.onnx`.
        precision: `fp32`, `fp16` or `int8`.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
        header: facts to keep in the file's metadata beside those of the model.

    Raises:
        SrkdError: it computes something else, or the file cannot be written.
    """
    _write(model, target, "onnx", precision, calibration, header)


def _write(
    model: Any,
    target: Path,
    format: str,
    precision: Precision,
    calibration: Sequence[np.ndarray],
    facts: dict[str, Any],
) -> str:
    """Writes and checks an export; what there is to say about it."""
    from srkd.models.cost import count_memory
    from srkd.models.fusing import fuse

    kind, fused = FORMATS[format], fuse(model)
    header = {"config": model.config, "radius": model.radius, "scale": model.scale, "precision": precision}
    header |= {"memory": count_memory(fused), "license": "unknown", **getattr(model, "info", {}), **facts}
    if format in ("onnx", "openvino"):
        header["opset"] = OPSET
    # Converted once, however often it is written.
    request = Request(model, fused, cache(lambda: to_onnx(fused)), header, precision, calibration)
    with publish(target, kind.beside) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        kind.write(request, draft)
        run = kind.open(draft)
        maximum, mean = compare(model, run, BOUNDS[precision], kind.batches)
        found = [f"difference to torch on noise at most {maximum:.2g}, {mean:.2g} on average"]
        if precision != "fp32":
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder) / target.name
                kind.write(request._replace(precision="fp32"), plain)
                found.append(weigh(run, kind.open(plain), model.scale, precision))
    named = f"{format}, opset {OPSET}" if format == "onnx" else format
    return f"{target}: {named}, {precision}, {'; '.join(found)}"


def _need(format: str, packages: Sequence[str]) -> None:
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise UsageError(f"{format} needs the package {package}; pip install 'srkd[{format}]'")


def _need_room(target: Path, kind: Format) -> None:
    """Refuses to replace a file that is no part of an earlier export: OpenVINO and ncnn both have a `.bin`,
    and each breaks with the other's."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file")
    for beside in map(target.with_suffix, kind.beside):
        if beside.exists() and not target.exists():
            raise UsageError(f"{beside} exists and does not belong to {target.name}; give another --out")
