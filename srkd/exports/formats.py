"""The formats: each is written from the fused network, and run in float32 by its own runtime."""

import copy
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from srkd.errors import SrkdError
from srkd.exports.checks import Run
from srkd.exports.int8 import quantize

OPSET = 18
Precision = Literal["fp32", "fp16", "int8"]


class Request(NamedTuple):
    """What is exported: a generator, its fused copy and that as an ONNX graph; facts about it; how precise,
    calibrated on what."""

    model: Any
    fused: Any
    graph: Callable[[], Any]
    header: dict[str, Any]
    precision: Precision
    calibration: Sequence[np.ndarray]

    def describe(self) -> str:
        """The facts as JSON."""
        return json.dumps({**self.header, "precision": self.precision}, sort_keys=True)


class Format(NamedTuple):
    """A file format: its suffix and those of the files beside it; how it is written; how its runtime runs it;
    the precisions it has; the packages it needs; and whether it takes several images at once."""

    suffix: str
    beside: tuple[str, ...]
    write: Callable[[Request, Path], None]
    open: Callable[[Path], Run]
    precisions: tuple[Precision, ...]
    packages: tuple[str, ...] = ()
    batches: bool = True


def to_onnx(fused: Any) -> Any:
    """A fused network as an ONNX graph of dynamic batch, height and width, from `lr` to `sr`."""
    import torch

    axes = {0: "batch", 2: "height", 3: "width"}
    program = torch.onnx.export(
        fused,
        (torch.zeros(2, 3, 24, 32),),
        input_names=["lr"],
        output_names=["sr"],
        dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    for value, prefix in ((proto.graph.input[0], ""), (proto.graph.output[0], "sr_")):
        for axis, name in axes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = prefix + name
    return proto


def _write_onnx(request: Request, path: Path) -> None:
    import onnx

    # A copy: the conversion to fp16 changes the graph that it is given.
    proto = copy.deepcopy(request.graph())
    if request.precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        proto = convert_float_to_float16(proto, keep_io_types=True)
    elif request.precision == "int8":
        proto = quantize(proto, request.calibration)
    onnx.helper.set_model_props(proto, {"srkd": request.describe()})
    path.write_bytes(proto.SerializeToString())


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(None, {"lr": batch})[0])


def _write_safetensors(request: Request, path: Path) -> None:
    from srkd.weights.store import save_generator

    info = {key: value for key, value in request.model.info.items() if key not in ("format", "kind")}
    save_generator(request.model, path, **info)


def _open_safetensors(path: Path) -> Run:
    from srkd.weights.store import load_generator

    return _in_torch(load_generator(path))


def _write_pt2(request: Request, path: Path) -> None:
    import torch

    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(request.fused, (torch.zeros(2, 3, 24, 32),), dynamic_shapes=(dynamic,))
    torch.export.save(program, path, extra_files={"srkd.json": request.describe()})


def _open_pt2(path: Path) -> Run:
    import torch

    return _in_torch(torch.export.load(path).module())


def _in_torch(model: Any) -> Run:
    import torch

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch)).numpy()

    return run


def _write_openvino(request: Request, path: Path) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(request.graph().SerializeToString())
        model = openvino.convert_model(source)
    model.set_rt_info(request.describe(), "srkd")
    openvino.save_model(model, path, compress_to_fp16=request.precision == "fp16")


def open_openvino(path: Path) -> Run:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    return lambda batch: np.array(model(batch)[0])


def _write_ncnn(request: Request, path: Path) -> None:
    """By pnnx, from a traced network; with the names of blobs that Upscayl and realesrgan-ncnn-vulkan use.
    Its text has no place for facts, which go into a file beside it."""
    import pnnx
    import torch

    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        torch.jit.trace(request.fused, torch.zeros(1, 3, 24, 32)).save(str(traced))  # type: ignore[no-untyped-call]
        made = Path(folder) / "model.ncnn.param"
        command = [pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,24,32]", "inputshape2=[1,3,38,20]"]
        command.append(f"fp16={int(request.precision == 'fp16')}")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode or not made.is_file():
            reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise SrkdError(f"pnnx could not convert the network: {reason}; nothing was written")
        lines = made.read_text(encoding="ascii").splitlines()
        binary = made.with_suffix(".bin").read_bytes()
    # What pnnx finds no layer for it leaves under torch's name or its own.
    kinds = {line.split()[0] for line in lines[2:]}
    foreign = sorted(kind for kind in kinds if "." in kind or "::" in kind)
    if foreign:
        raise SrkdError(f"ncnn has no layer for {', '.join(foreign)}; nothing was written")
    names = {"in0": "data", "out0": "output"}
    renamed = [" ".join(names.get(word, word) for word in line.split()) for line in lines]
    path.write_text("\n".join(renamed) + "\n", encoding="ascii")
    path.with_suffix(".bin").write_bytes(binary)
    path.with_suffix(".json").write_text(request.describe() + "\n", encoding="utf-8")


def _open_ncnn(path: Path) -> Run:
    import ncnn as library

    ncnn: Any = library
    net = ncnn.Net()
    # Arithmetic in float32, as of the other runtimes; only what is stored may be half.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def run(batch: np.ndarray) -> np.ndarray:
        # Held until the network has run: ncnn reads this memory and keeps no hold of it.
        image = np.ascontiguousarray(batch[0])
        with net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(image))
            _, found = extractor.extract("output")
            return np.array(found)[None]

    return run


_HALF: tuple[Precision, ...] = ("fp32", "fp16")
FORMATS = {
    "onnx": Format(".onnx", (), _write_onnx, _open_onnx, (*_HALF, "int8")),
    "safetensors": Format(".safetensors", (), _write_safetensors, _open_safetensors, ("fp32",)),
    "pt2": Format(".pt2", (), _write_pt2, _open_pt2, ("fp32",)),
    "openvino": Format(".xml", (".bin",), _write_openvino, open_openvino, _HALF, ("openvino",)),
    "ncnn": Format(
        ".param", (".bin", ".json"), _write_ncnn, _open_ncnn, _HALF, ("ncnn", "pnnx"), batches=False
    ),
}
