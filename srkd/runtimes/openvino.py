"""OpenVINO, on the CPU."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import UsageError
from srkd.runtimes import Settings
from srkd.runtimes.runner import UNKNOWN_MEMORY, Run, Runner, check_cpu


def open_runner(model: Path, name: str, settings: Settings) -> Runner:
    """Opens an ONNX file that srkd exported.

    Raises:
        UsageError: OpenVINO is not installed, or the file is of other origin.
    """
    check_cpu(settings, "OpenVINO")
    if importlib.util.find_spec("openvino") is None:
        raise UsageError("the openvino backend is not installed; pip install 'srkd[openvino]'")
    import openvino

    header = read_onnx_header(model)
    if "radius" not in header:
        raise UsageError(f"{model} was not exported by srkd; use --backend onnxruntime")
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if settings.threads is not None:
        options["INFERENCE_NUM_THREADS"] = settings.threads
    compiled = openvino.Core().compile_model(model, "CPU", options)

    def run(batch: np.ndarray) -> np.ndarray:
        return np.array(compiled(batch)[0])

    memory = header.get("memory", UNKNOWN_MEMORY)
    scale = header["config"]["scale"]
    return Runner(name, scale, header["radius"], run, True, memory, "OpenVINO, CPU")


def open_file(path: Path) -> Run:
    """Opens a file that srkd exported, `.xml` or `.onnx`.

    Returns:
        A function from float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.
    """
    import openvino

    # Without the hint, CPUs that have bfloat16 would compute in it.
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: np.array(model(batch)[0])


def read_onnx_header(path: Path) -> dict[str, Any]:
    import onnx

    for item in onnx.load(path).metadata_props:
        if item.key == "srkd":
            return json.loads(item.value)
    return {}
