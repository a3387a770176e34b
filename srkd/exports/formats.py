"""The export formats: each is written from the fused network and checked in its own runtime, in float32."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from srkd.exports import coreml, litert, ncnn, onnx
from srkd.exports.int8 import quantize
from srkd.exports.request import Format, Precision, Request, Shape
from srkd.runtimes import litert as litert_runtime
from srkd.runtimes import ncnn as ncnn_runtime
from srkd.runtimes import onnxruntime, openvino
from srkd.runtimes.runner import Run


def _write_safetensors(request: Request, path: Path) -> None:
    from srkd.weights.store import save_generator, save_spandrel

    if request.model.config is None:
        facts = {key: value for key, value in request.header.items() if isinstance(value, str)}
        save_spandrel(request.model, path, facts)
        return
    info = {key: value for key, value in request.model.info.items() if key not in ("format", "kind")}
    save_generator(request.model, path, **info)


def _open_safetensors(path: Path) -> Run:
    from srkd.weights.store import load_generator

    return _in_torch(load_generator(path))


def _write_pt2(request: Request, path: Path) -> None:
    fixed = {0: request.shape.batch, 2: request.shape.size, 3: request.shape.size}
    dynamic = {axis: torch.export.Dim.DYNAMIC for axis, value in fixed.items() if value is None}
    example = (torch.zeros(request.shape.example),)
    program = torch.export.export(request.fused, example, dynamic_shapes=(dynamic,) if dynamic else None)
    torch.export.save(program, path, extra_files={"srkd.json": request.describe()})


def _open_pt2(path: Path) -> Run:
    return _in_torch(torch.export.load(path).module())


def _in_torch(model: nn.Module) -> Run:
    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch)).numpy()

    return run


def _write_openvino(request: Request, path: Path) -> None:
    library = openvino.import_openvino()
    core = library.Core()
    # Mapped files cannot be removed on Windows.
    core.set_property({"ENABLE_MMAP": False})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        proto = request.graph()
        if request.precision == "int8":
            proto = quantize(proto, request.calibration, request.floats, outputs=False)
        source.write_bytes(proto.SerializeToString())
        # Not `convert_model`, which sends telemetry and keeps a device id in the user's home.
        model = core.read_model(source)
    model.set_rt_info(request.describe(), "srkd")
    library.save_model(model, path, compress_to_fp16=request.precision == "fp16")


_HALF: tuple[Precision, ...] = ("fp32", "fp16")
_STATIC = ("size", "batch")
_PHONE = Shape((128, 128), 1)
FORMATS: dict[str, Format] = {
    "onnx": Format(
        ".onnx",
        (),
        onnx.write_file,
        onnxruntime.open_file,
        (*_HALF, "int8"),
        options=(*_STATIC, "names", "opset"),
    ),
    "safetensors": Format(".safetensors", (), _write_safetensors, _open_safetensors, ("fp32",)),
    "pt2": Format(".pt2", (), _write_pt2, _open_pt2, ("fp32",), options=_STATIC),
    "openvino": Format(
        ".xml",
        (".bin",),
        _write_openvino,
        openvino.open_file,
        (*_HALF, "int8"),
        ("openvino",),
        options=(*_STATIC, "names"),
    ),
    "ncnn": Format(
        ".param",
        (".bin", ".json"),
        ncnn.write_file,
        ncnn_runtime.open_file,
        _HALF,
        ("ncnn", "pnnx"),
        batches=False,
        options=("names",),
        # As Upscayl and realesrgan-ncnn-vulkan call them.
        shape=Shape(names=("data", "output")),
    ),
    "litert": Format(
        ".tflite",
        (),
        litert.write_file,
        litert_runtime.open_file,
        (*_HALF, "int8"),
        ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        options=(*_STATIC, "names"),
        shape=_PHONE,
    ),
    "coreml": Format(
        ".mlpackage",
        (),
        coreml.write_file,
        coreml.open_file,
        _HALF,
        ("coremltools",),
        options=(*_STATIC, "names"),
        shape=_PHONE,
        note="" if sys.platform == "darwin" else coreml.NOTE,
    ),
}
