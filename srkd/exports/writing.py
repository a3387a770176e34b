"""Writes generators in the formats of other programs, after checking each in its own runtime."""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from srkd.exports.checks import BOUNDS, check_parity, measure_precision
from srkd.exports.formats import FORMATS, OPSET, Precision, Request, to_onnx
from srkd.files import publish
from srkd.models.base import Generator
from srkd.models.cost import count_memory
from srkd.models.fusing import fuse


def write_onnx(
    model: Generator,
    target: Path,
    precision: Precision = "fp32",
    calibration: Sequence[np.ndarray] = (),
    **header: Any,
) -> None:
    """Writes a generator of this package to an ONNX file, fused and checked. Prints nothing.

    Args:
        model: the generator, in eval mode.
        target: a name ending in `.onnx`.
        precision: `fp32`, `fp16` or `int8`.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
        header: facts to keep in the file's metadata, beside those about the model.

    Raises:
        SrkdError: the file computes something else than the generator, or cannot be written.
    """
    write_checked(model, target, "onnx", precision, calibration, header)


def write_checked(
    model: Generator,
    target: Path,
    format: str,
    precision: Precision,
    calibration: Sequence[np.ndarray],
    facts: dict[str, Any],
) -> str:
    """Writes an export and checks it.

    Args:
        model: the generator, in eval mode.
        target: the file.
        format: a key of FORMATS.
        precision: one that the format has.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
        facts: to keep in the file, beside those about the model.

    Returns:
        What the checks found, as a sentence.

    Raises:
        SrkdError: the file computes something else than the generator, or cannot be written.
    """
    kind, fused = FORMATS[format], fuse(model)
    header = {"config": model.config, "radius": model.radius, "scale": model.scale, "precision": precision}
    header |= {"memory": count_memory(fused), "license": "unknown", **model.info, **facts}
    if format in ("onnx", "openvino"):
        header["opset"] = OPSET
    # Cached: fp16 and int8 write the graph twice.
    request = Request(model, fused, cache(lambda: to_onnx(fused)), header, precision, calibration)
    with publish(target, kind.beside) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        kind.write(request, draft)
        run = kind.open(draft)
        maximum, mean = check_parity(model, run, BOUNDS[precision], kind.batches)
        found = [f"differs from torch on noise by at most {maximum:.2g}, {mean:.2g} on average"]
        if precision != "fp32":
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder) / target.name
                kind.write(request._replace(precision="fp32"), plain)
                found.append(measure_precision(run, kind.open(plain), model.scale, precision))
    named = f"{format}, opset {OPSET}" if format == "onnx" else format
    return f"{target}: {named}, {precision}, {'; '.join(found)}"
