"""OpenVINO, on the CPU."""

import importlib
import importlib.util
import json
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from srkd.errors import SrkdError, UsageError, first_line
from srkd.runtimes import Settings
from srkd.runtimes.runner import UNKNOWN_MEMORY, Run, Runner, check_cpu


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which keeps a device id in the user's home and sends an event as soon
    as it is imported, unless the package for that is missing."""
    modules: dict[str, Any] = sys.modules
    hide = "openvino" not in modules and "openvino_telemetry" not in modules
    if hide:
        modules["openvino_telemetry"] = None
    try:
        return importlib.import_module("openvino")
    finally:
        if hide:
            del modules["openvino_telemetry"]


def open_runner(model: Path, name: str, settings: Settings) -> Runner:
    """Opens an ONNX file that srkd exported.

    Raises:
        UsageError: OpenVINO is not installed, or the file comes from another program.
        SrkdError: the file is damaged.
    """
    check_cpu(settings, "OpenVINO")
    if importlib.util.find_spec("openvino") is None:
        raise UsageError("the openvino backend is not installed; pip install 'srkd[openvino]'")
    run, header = _compile(model, _options(settings.threads))
    if "radius" not in header:
        raise UsageError(f"{model} was not exported by srkd; use --backend onnxruntime")
    if {"size", "batch"} & header.keys():
        raise UsageError(f"{model} takes one size or batch alone; use --backend onnxruntime")
    memory, scale = header.get("memory", UNKNOWN_MEMORY), header.get("scale") or header["config"]["scale"]
    return Runner(name, scale, header["radius"], run, header.get("exact", True), memory, "OpenVINO, CPU")


def open_file(path: Path, threads: int | None = None) -> Run:
    """Opens a file that srkd exported, `.xml` or `.onnx`.

    Args:
        path: the file.
        threads: CPU threads; all cores when not given.

    Returns:
        A function from float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.

    Raises:
        SrkdError: the file is damaged.
    """
    return _compile(path, _options(threads))[0]


def _options(threads: int | None) -> dict[str, Any]:
    limit = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    return {"PERFORMANCE_HINT": "LATENCY", **limit}


def _compile(path: Path, options: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """What runs a file, and what srkd wrote into it where it is ONNX."""
    openvino = import_openvino()
    # Mapped files can be neither renamed nor replaced on Windows.
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})
    try:
        model = core.read_model(path)
        # Without the hint, CPUs that have bfloat16 would compute in it.
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **options})
    except RuntimeError as error:
        raise SrkdError(f"{path} is not a model that OpenVINO can open: {first_line(error)}") from error
    place = ["framework", "srkd"]
    header = json.loads(model.get_rt_info(place).value) if model.has_rt_info(place) else {}
    # A request holds its own buffers, and runs for one thread at a time.
    local = threading.local()

    def run(batch: np.ndarray) -> np.ndarray:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return np.array(local.request.infer([batch])[0])

    return run, header
