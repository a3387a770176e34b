"""`srkd export`: a trained generator in the format of another program."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from srkd.errors import UsageError
from srkd.exports.formats import FORMATS, Format, Precision
from srkd.exports.int8 import read_calibration
from srkd.exports.writing import write_checked
from srkd.terminal import console
from srkd.weights.catalogue import find_weights, list_shipped


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
    from srkd.weights.store import load_generator

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
    said = write_checked(model, target, format, precision, calibration, facts)
    console.print(said, markup=False)
    return target


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
