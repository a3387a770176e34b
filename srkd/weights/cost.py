"""What the network in a weights file costs: parameters, multiply-accumulates and time."""

import importlib.util
import math
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from srkd.images.tensors import to_planes
from srkd.runtimes.foreign import draw
from srkd.runtimes.ncnn_files import Network, read_network
from srkd.runtimes.runner import Runner
from srkd.weights.catalogue import kind_of

# The output that costs are given for, and how much of its area is run to measure the time.
HEIGHT, WIDTH = 720, 1280
_PART = 16
_ROUNDS = 3


class Cost(NamedTuple):
    """Parameters, and multiply-accumulates for a 1280x720 output; None where they are not known."""

    parameters: int | None = None
    macs: float | None = None


def count_stored(path: Path) -> int:
    """The number of parameters in a safetensors file, without buffers. Imports no torch."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
        # Of batch norm, and SPAN's mark.
        buffers = ("running_mean", "running_var", "num_batches_tracked", "no_norm")
        return sum(math.prod(part.get_shape()) for key, part in slices.items() if not key.endswith(buffers))


def count_cost(path: Path, scale: int) -> Cost:
    """Counts what a file's network computes. Nothing is computed.

    Args:
        path: a weights file of any format.
        scale: its factor.
    """
    height, width = -(-HEIGHT // scale), -(-WIDTH // scale)
    kind = kind_of(path)
    if kind == "ncnn":
        network = read_network(path)
        weights = network.weights
        parameters = None if weights is None else sum(len(a) for arrays in weights.values() for a in arrays)
        return Cost(parameters, _count_ncnn(network) * height * width)
    if kind == "onnx":
        return _count_onnx(path, height, width) if importlib.util.find_spec("onnx") else Cost()
    if importlib.util.find_spec("torch") is None:
        return Cost()
    from srkd.models.cost import count_macs, count_parameters
    from srkd.weights.store import load_generator

    model = load_generator(path)
    try:
        macs = count_macs(model, scale)
    except Exception:  # of networks of others, which need not run without values
        macs = None
    return Cost(count_parameters(model), macs)


def _count_ncnn(network: Network) -> float:
    """Multiply-accumulates per LR pixel."""
    sides: dict[str, float] = {}
    total = 0.0
    for layer in network.layers:
        before = max((sides[name] for name in layer.inputs), default=1.0)
        factor, weights = 1.0, layer.number(6)
        if layer.kind.startswith("Convolution"):
            factor = 1 / layer.number(3, 1)
            total += weights * (before * factor) ** 2
        elif layer.kind.startswith("Deconvolution"):
            factor = layer.number(3, 1)
            total += weights * before**2
        elif layer.kind in ("Interp", "PixelShuffle"):
            factor = layer.number(1 if layer.kind == "Interp" else 0, 1)
        elif layer.kind in ("Pooling", "Reorg"):
            factor = 1 / layer.number(2 if layer.kind == "Pooling" else 0, 1)
        sides |= dict.fromkeys(layer.outputs, before * factor)
    return total


def _count_onnx(path: Path, height: int, width: int) -> Cost:
    import onnx

    model = onnx.load(path)
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    # Not the factors, sizes and bounds of other layers.
    others = ("Resize", "Upsample", "Pad", "Clip", "Slice")
    plain = {name for node in model.graph.node if node.op_type in others for name in node.input[1:]}
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT8)
    weights = [t for t in model.graph.initializer if t.data_type in kinds and t.name not in plain and t.dims]
    parameters = sum(math.prod(tensor.dims) for tensor in weights)
    (entry,) = [value for value in model.graph.input if value.name not in constants]
    sides = entry.type.tensor_type.shape.dim
    last = len(sides) == 4 and sides[3].dim_value in (1, 3) and sides[1].dim_value not in (1, 3)
    for side, value in zip(sides, (1, height, width, 3) if last else (1, 3, height, width), strict=False):
        side.dim_value = side.dim_value or value
    given = [side.dim_value for side in sides]
    area = math.prod(given[1:3] if last else given[2:])
    try:
        macs = _count_nodes(onnx.shape_inference.infer_shapes(model, data_prop=True), constants)
    except Exception:  # shapes that cannot be inferred
        macs = None
    return Cost(parameters, None if macs is None else macs * height * width / area)


def _count_nodes(model: Any, constants: dict[str, tuple[int, ...]]) -> float:
    """Multiply-accumulates of a graph whose shapes are known. Raises KeyError where one is not."""
    shapes = dict(constants)
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
        if sides and all(sides):
            shapes[value.name] = tuple(sides)
    total = 0.0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvInteger"):
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            total += math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total


def measure_seconds(runner: Runner) -> float:
    """Seconds for a 1280x720 output: measured on a sixteenth of it, the median of three runs after one that
    warms up."""
    side = math.sqrt(_PART) * runner.scale
    image = np.rint(draw(max(1, round(HEIGHT / side)), max(1, round(WIDTH / side))) * 255).astype(np.uint8)
    times = []
    for _ in range(_ROUNDS + 1):
        start = perf_counter()
        if runner.run is None:
            runner(image)
        else:
            runner.run(to_planes(image))
        times.append(perf_counter() - start)
    made = image.shape[0] * image.shape[1] * runner.scale**2
    return median(times[1:]) * HEIGHT * WIDTH / made
