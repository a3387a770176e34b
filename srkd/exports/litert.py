"""LiteRT (TensorFlow Lite): `.tflite` files of one size, channels last, for phones' GPUs."""

import contextlib
import importlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srkd.errors import SrkdError
from srkd.exports.request import Request
from srkd.exports.rewrites import rewrite_for_gpu

# What LiteRT's GPU delegate runs, of floats, in tensors of four axes at most: the cases of NewOperationParser
# in google-ai-edge/LiteRT, tflite/delegates/gpu/common/model_builder.cc (34ec5bad). QUANTIZE and DEQUANTIZE
# only where quantized models are allowed, as they are by default.
_GPU = """
ABS ADD ADD_N AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D COS CUMSUM DENSIFY DEPTHWISE_CONV_2D
DEPTH_TO_SPACE DEQUANTIZE DIV EQUAL ELU EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER
GREATER_EQUAL HARD_SWISH LESS LESS_EQUAL LOGISTIC LOG LOGICAL_AND LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM
MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW REDUCE_MAX REDUCE_MIN REDUCE_PROD QUANTIZE RELU
RELU6 RELU_0_TO_1 RELU_N1_TO_1 LEAKY_RELU PRELU RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT
SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE
SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNPACK
"""
GPU_OPERATORS = frozenset(_GPU.split())
GPU_AXES = 4


class _ChannelsLast(nn.Module):
    """`(N, H, W, 3)` to `(N, scale*H, scale*W, 3)`; a dictionary, whose key names the output."""

    def __init__(self, model: nn.Module, result: str):
        super().__init__()
        self.model, self.result = model, result

    def forward(self, **images: Tensor) -> dict[str, Tensor]:
        (image,) = images.values()
        return {self.result: self.model(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)}


def write_file(request: Request, path: Path) -> None:
    """Writes a `.tflite` file, with what is known about the network in its metadata.

    Raises:
        SrkdError: LiteRT's GPU delegate would not run all of it.
    """
    example = torch.zeros(request.shape.example)
    model = rewrite_for_gpu(request.fused, example)
    with tempfile.TemporaryDirectory() as folder, _quietly():
        plain = Path(folder) / "plain.tflite"
        _convert(model, example, request.shape.names, plain)
        content = plain.read_bytes()
        if request.precision == "fp16":
            content = _halve(content)
        elif request.precision == "int8":
            content = _quantize(content, request)
    path.write_bytes(_describe(content, request.describe()))
    foreign = find_foreign(path)
    if foreign:
        raise SrkdError(f"LiteRT's GPU delegate does not run {', '.join(foreign)}; nothing was written")


def _convert(model: nn.Module, example: Tensor, names: tuple[str, str], path: Path) -> None:
    # Read as it is imported, and as it works.
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    library = importlib.import_module("litert_torch")
    inputs = {names[0]: example.permute(0, 2, 3, 1).contiguous()}
    library.convert(_ChannelsLast(model, names[1]).eval(), (), inputs).export(str(path))


def _halve(content: bytes) -> bytes:
    """Weights of convolutions in half precision, which the CPU widens as it loads them."""
    quantizer = _start_quantizer(content)
    for kind in ("CONV_2D", "CONV_2D_TRANSPOSE"):
        quantizer.add_weight_only_config(".*", kind, 16, algorithm_key="float_casting")
    return bytes(quantizer.quantize().quantized_model)


def _quantize(content: bytes, request: Request) -> bytes:
    """Convolutions per channel, and what lies between them, except those that stay float32, the first and the
    last and what comes after: those read and write pixels."""
    layers = [request.fused.get_submodule(name) for name in request.floats]
    kernels = [layer.get_parameter("weight").detach().permute(0, 2, 3, 1).numpy() for layer in layers]
    quantizer = _start_quantizer(content)
    quantizer.add_static_config(".*", "*", 8, 8)
    for regex, kind in (
        *((f"^{re.escape(outside)};?$", "*") for outside in _list_outside(content, kernels)),
        # The file takes and gives float32.
        (".*", "INPUT"),
        (".*", "OUTPUT"),
    ):
        quantizer.update_quantization_recipe(regex, kind, algorithm_key="no_quantize")
    samples = [
        {request.shape.names[0]: np.ascontiguousarray(image.transpose(0, 2, 3, 1), np.float32)}
        for image in request.calibration
    ]
    ranges = quantizer.calibrate({"serving_default": samples})
    return bytes(quantizer.quantize(ranges).quantized_model)


def _start_quantizer(content: bytes) -> Any:
    return importlib.import_module("ai_edge_quantizer.quantizer").Quantizer(bytearray(content))


def _read(content: bytes) -> tuple[Any, Any]:
    """A file's model, as objects, and the module that has their classes."""
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(content), 0))
    for buffer in model.buffers:
        # The quantizer puts values behind the model, at these places of the file; 0 and 1 stand for none.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model, schema


def _name_operators(model: Any, schema: Any) -> dict[int, str]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return {number: names[code] for number, code in enumerate(codes)}


def _list_outside(content: bytes, kernels: Sequence[np.ndarray]) -> list[str]:
    """What the first convolution, the last, all operators after that, and convolutions of these kernels give,
    by name. An operator's name is that of its output."""
    model, schema = _read(content)
    (graph,) = model.subgraphs
    kinds = _name_operators(model, schema)

    def has_kernel(operator: Any) -> bool:
        # The converter names tensors by their modules' classes; their values tell them apart for certain.
        tensor = graph.tensors[operator.inputs[1]]
        values = np.frombuffer(model.buffers[tensor.buffer].data, np.float32).reshape(tensor.shape)
        return any(np.array_equal(values, kernel) for kernel in kernels)

    places = [n for n, one in enumerate(graph.operators) if kinds[one.opcodeIndex] == "CONV_2D"]
    outside = [*graph.operators[: places[0] + 1], *graph.operators[places[-1] :]]
    outside += [graph.operators[place] for place in places[1:-1] if has_kernel(graph.operators[place])]
    return [graph.tensors[index].name.decode() for one in outside for index in one.outputs]


def find_foreign(path: Path) -> list[str]:
    """What LiteRT's GPU delegate does not run of a file: operators by name, and tensors by their axes."""
    model, schema = _read(path.read_bytes())
    kinds = _name_operators(model, schema)
    found = {kinds[one.opcodeIndex] for graph in model.subgraphs for one in graph.operators} - GPU_OPERATORS
    axes = max(
        len(tensor.shape) for graph in model.subgraphs for tensor in graph.tensors if tensor.shape is not None
    )
    return [*sorted(found), *([f"tensors of {axes} axes"] if axes > GPU_AXES else [])]


def _describe(content: bytes, text: str) -> bytes:
    """The file with facts as its metadata."""
    flatbuffers = importlib.import_module("flatbuffers")
    model, schema = _read(content)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    entry.name, entry.buffer = "srkd", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def read_facts(path: Path) -> str:
    """What `write_file` wrote into a file's metadata."""
    model, _ = _read(path.read_bytes())
    entry = next(entry for entry in model.metadata if entry.name == b"srkd")
    return bytes(model.buffers[entry.buffer].data).decode()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Inside, nothing is printed, on standard error by compiled code, neither: the converter's parts log
    there, whatever they are told. What goes wrong comes as an exception."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
