"""The export formats: each is written from the fused network and checked in its own runtime, in float32."""

import copy
import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from srkd.errors import SrkdError
from srkd.exports.int8 import quantize
from srkd.models.base import Generator
from srkd.runtimes import ncnn, onnxruntime, openvino
from srkd.runtimes.runner import Run

OPSET = 18
Precision = Literal["fp32", "fp16", "int8"]


class Request(NamedTuple):
    """What to export.

    Args:
        model: the generator.
        fused: its fused copy.
        graph: makes an ONNX graph of the fused copy; called again, it returns the same graph.
        header: facts about the generator, stored in the file.
        precision: what the weights are stored in.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
    """

    model: Generator
    fused: nn.Module
    graph: Callable[[], Any]
    header: dict[str, Any]
    precision: Precision
    calibration: Sequence[np.ndarray]

    def describe(self) -> str:
        """The facts as JSON."""
        return json.dumps({**self.header, "precision": self.precision}, sort_keys=True)


class Format(NamedTuple):
    """A file format.

    Args:
        suffix: of the file.
        beside: suffixes of the files that belong to it.
        write: writes a request to a path.
        open: opens a written file in the format's runtime, for the check.
        precisions: those it has.
        packages: those that must be installed.
        batches: whether it takes several images at once.
    """

    suffix: str
    beside: tuple[str, ...]
    write: Callable[[Request, Path], None]
    open: Callable[[Path], Run]
    precisions: tuple[Precision, ...]
    packages: tuple[str, ...] = ()
    batches: bool = True


def to_onnx(fused: nn.Module) -> Any:
    """A fused network as an ONNX `ModelProto` of dynamic batch, height and width, from `lr` to `sr`."""
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
    drop_traces(proto.graph)
    return proto


def drop_traces(graph: Any) -> None:
    """Removes what torch notes on an ONNX graph's nodes and values about where in the source they come from:
    stack traces, with the paths of the machine that exported it."""
    for entry in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        kept = [item for item in entry.metadata_props if not item.key.startswith("pkg.torch.")]
        del entry.metadata_props[:]
        entry.metadata_props.extend(kept)


def _write_onnx(request: Request, path: Path) -> None:
    import onnx

    # A copy: the conversion to fp16 changes the graph that it is given.
    proto = copy.deepcopy(request.graph())
    if request.precision == "fp16":
        onnxruntime.import_onnxruntime()
        from onnxruntime.transformers.float16 import convert_float_to_float16

        proto = convert_float_to_float16(proto, keep_io_types=True)
    elif request.precision == "int8":
        proto = quantize(proto, request.calibration)
    onnx.helper.set_model_props(proto, {"srkd": request.describe()})
    path.write_bytes(proto.SerializeToString())


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
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(request.fused, (torch.zeros(2, 3, 24, 32),), dynamic_shapes=(dynamic,))
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
        source.write_bytes(request.graph().SerializeToString())
        # Not `convert_model`, which sends telemetry and keeps a device id in the user's home.
        model = core.read_model(source)
    model.set_rt_info(request.describe(), "srkd")
    library.save_model(model, path, compress_to_fp16=request.precision == "fp16")


def _write_ncnn(request: Request, path: Path) -> None:
    """By pnnx, from a traced network. The blobs have the names that Upscayl and realesrgan-ncnn-vulkan use.
    The format has no place for facts; they go into a file beside it."""
    import pnnx

    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        module: Any = torch.jit.trace(request.fused, torch.zeros(1, 3, 24, 32))
        module.save(str(traced))
        made = Path(folder) / "model.ncnn.param"
        command = [pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,24,32]", "inputshape2=[1,3,38,20]"]
        command.append(f"fp16={int(request.precision == 'fp16')}")
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
        if done.returncode or not made.is_file():
            reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise SrkdError(f"pnnx could not convert the network: {reason}; nothing was written")
        lines = made.read_text(encoding="ascii").splitlines()
        binary = made.with_suffix(".bin").read_bytes()
    # Where ncnn has no layer, pnnx leaves torch's name or its own.
    kinds = {line.split()[0] for line in lines[2:]}
    foreign = sorted(kind for kind in kinds if "." in kind or "::" in kind)
    if foreign:
        raise SrkdError(f"ncnn has no layer for {', '.join(foreign)}; nothing was written")
    names = {"in0": "data", "out0": "output"}
    renamed = [" ".join(names.get(word, word) for word in line.split()) for line in lines]
    path.write_text("\n".join(renamed) + "\n", encoding="ascii")
    path.with_suffix(".bin").write_bytes(binary)
    path.with_suffix(".json").write_text(request.describe() + "\n", encoding="utf-8")


_HALF: tuple[Precision, ...] = ("fp32", "fp16")
FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", (), _write_onnx, onnxruntime.open_file, (*_HALF, "int8")),
    "safetensors": Format(".safetensors", (), _write_safetensors, _open_safetensors, ("fp32",)),
    "pt2": Format(".pt2", (), _write_pt2, _open_pt2, ("fp32",)),
    "openvino": Format(".xml", (".bin",), _write_openvino, openvino.open_file, _HALF, ("openvino",)),
    "ncnn": Format(
        ".param", (".bin", ".json"), _write_ncnn, ncnn.open_file, _HALF, ("ncnn", "pnnx"), batches=False
    ),
}
