"""Core ML: `.mlpackage` folders with an ML program of one size, for Apple's devices."""

import contextlib
import importlib
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from srkd.errors import SrkdError
from srkd.exports.request import Request
from srkd.runtimes.runner import Run

NOTE = "Core ML itself runs on a Mac alone; here the saved program was computed step by step in torch"


def import_coremltools() -> Any:
    """coremltools, without its warnings about parts that only a Mac has."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    return importlib.import_module("coremltools")


def write_file(request: Request, path: Path) -> None:
    """Writes an `.mlpackage`, which takes and gives float32 `(N, 3, H, W)` arrays, with what is known about
    the network in its metadata. fp16 is what the program computes in, as Apple's Neural Engine does."""
    library, shape = import_coremltools(), request.shape
    traced = torch.jit.trace(request.fused, torch.zeros(shape.example))
    half = request.precision == "fp16"
    # Its bars of progress go to standard error.
    with contextlib.redirect_stderr(io.StringIO()):
        package = library.convert(
            traced,
            inputs=[library.TensorType(name=shape.names[0], shape=shape.example, dtype=np.float32)],
            outputs=[library.TensorType(name=shape.names[1], dtype=np.float32)],
            convert_to="mlprogram",
            compute_precision=library.precision.FLOAT16 if half else library.precision.FLOAT32,
            minimum_deployment_target=library.target.iOS15,
            skip_model_load=True,
        )
    package.user_defined_metadata["srkd"] = request.describe()
    package.license = str(request.header["license"])
    package.short_description = f"Enlarges RGB images in [0, 1], channels first, {request.model.scale} times"
    package.save(str(path))


def open_file(path: Path) -> Run:
    """Opens an `.mlpackage` that srkd exported: in Core ML on a Mac, elsewhere in torch, operation by
    operation as the package has them, with its weights.

    Raises:
        SrkdError: the program has an operation that is not computed here.
    """
    library = import_coremltools()
    if sys.platform == "darwin":
        return _in_core_ml(library.models.MLModel(str(path), compute_units=library.ComputeUnit.CPU_ONLY))
    package = library.models.MLModel(str(path), skip_model_load=True)
    loader = importlib.import_module("coremltools.converters.mil.frontend.milproto.load")
    spec = package.get_spec()
    program = loader.load(spec, spec.specificationVersion, package.weights_dir).functions["main"]
    operations = [one for one in program.operations if one.op_type != "const"]
    unknown = sorted({one.op_type for one in operations} - OPERATIONS.keys())
    if unknown:
        raise SrkdError(f"Core ML's {', '.join(unknown)} cannot be checked here; nothing was written")
    (source,), (result,) = program.inputs, program.outputs

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        values = {source: torch.from_numpy(batch)}
        for one in operations:
            given = {key: _value(var, values) for key, var in one.inputs.items()}
            values[one.outputs[0].name] = OPERATIONS[one.op_type](given)
        return values[result.name].float().numpy()

    return run


def _in_core_ml(package: Any) -> Run:
    (entry,), (result,) = package.get_spec().description.input, package.get_spec().description.output
    return lambda batch: np.asarray(package.predict({entry.name: batch})[result.name], np.float32)


def _value(var: Any, values: dict[str, Tensor]) -> Any:
    """What an operation is given: a list for several, a tensor, or a constant as it is."""
    if isinstance(var, list | tuple):
        return [_value(one, values) for one in var]
    if var.name in values:
        return values[var.name]
    if isinstance(var.val, np.ndarray) and var.val.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(var.val))
    return var.val


def _convolve(given: dict[str, Any]) -> Tensor:
    top, bottom, left, right = (int(side) for side in given["pad"])
    strides, dilations = (tuple(int(n) for n in given[key]) for key in ("strides", "dilations"))
    x = F.pad(given["x"], [left, right, top, bottom])
    return F.conv2d(x, given["weight"], given.get("bias"), strides, 0, dilations, int(given["groups"]))


def _enlarge(given: dict[str, Any], mode: str) -> Tensor:
    factors = float(given["scale_factor_height"]), float(given["scale_factor_width"])
    corners = bool(given["align_corners"]) if mode == "bilinear" else None
    return F.interpolate(given["x"], scale_factor=factors, mode=mode, align_corners=corners)


# Operations of ML programs, as coremltools documents them.
OPERATIONS: dict[str, Callable[[dict[str, Any]], Tensor]] = {
    "add": lambda given: given["x"] + given["y"],
    "cast": lambda given: given["x"].to({"fp16": torch.float16, "fp32": torch.float32}[str(given["dtype"])]),
    "concat": lambda given: torch.cat(given["values"], int(given["axis"])),
    "conv": _convolve,
    "leaky_relu": lambda given: F.leaky_relu(given["x"], float(given["alpha"])),
    "mul": lambda given: given["x"] * given["y"],
    "pixel_shuffle": lambda given: F.pixel_shuffle(given["x"], int(given["upscale_factor"])),
    "prelu": lambda given: F.prelu(given["x"], given["alpha"]),
    "real_div": lambda given: given["x"] / given["y"],
    "reduce_mean": lambda given: given["x"].mean(
        [int(axis) for axis in given["axes"]], keepdim=bool(given["keep_dims"])
    ),
    "relu": lambda given: torch.relu(given["x"]),
    "sigmoid": lambda given: torch.sigmoid(given["x"]),
    "silu": lambda given: F.silu(given["x"]),
    "stack": lambda given: torch.stack(given["values"], int(given["axis"])),
    "sub": lambda given: given["x"] - given["y"],
    "upsample_bilinear": lambda given: _enlarge(given, "bilinear"),
    "upsample_nearest_neighbor": lambda given: _enlarge(given, "nearest"),
}
