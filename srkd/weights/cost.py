"""What weights cost to run, whatever their format: parameters, multiply-accumulates of an image, time."""

import math
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from srkd.images.tensors import to_planes
from srkd.runtimes.foreign import draw
from srkd.runtimes.ncnn_files import Network, read_network
from srkd.runtimes.runner import Runner
from srkd.weights.catalogue import find_weights, kind_of

# The output that costs are given for, how much of its area is run to measure the time, and how often.
HEIGHT, WIDTH = 720, 1280
_PART, _ROUNDS = 16, 3

# Nodes whose inputs after the first are a network's parameters, and those between these and their values.
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "PRelu", "BatchNormalization")
_PASSING = ("DequantizeLinear", "Cast", "Identity", "Transpose", "Reshape", "Unsqueeze")


class Cost(NamedTuple):
    """What a network costs; None for what cannot be counted.

    Args:
        parameters: how many, with re-parameterised blocks merged.
        macs: multiply-accumulates for one output image.
    """

    parameters: int | None = None
    macs: int | None = None


def count_cost(weights: str | Path, height: int = HEIGHT, width: int = WIDTH) -> Cost:
    """Counts what weights cost. Nothing is computed.

    Args:
        weights: a file or shipped name, in the forms that `load_generator` takes.
        height, width: size of the output in pixels.

    Raises:
        UsageError, SrkdError: as `load_generator` does.
    """
    from srkd.weights.store import load_generator

    path = find_weights(weights)
    model = load_generator(path)
    kind, rows, columns = kind_of(path), -(-height // model.scale), -(-width // model.scale)
    if kind == "onnx":
        return _count_graph(path, rows, columns)
    if kind == "ncnn":
        network = read_network(path)
        stored = network.weights
        held = None if stored is None else sum(len(a) for arrays in stored.values() for a in arrays)
        return Cost(held, round(_count_ncnn(network) * rows * columns))
    from srkd.models.cost import count_macs, count_parameters

    parameters = count_parameters(model)
    if not parameters:
        return Cost()  # held by a runtime
    try:
        return Cost(parameters, count_macs(model, model.scale, height, width))
    except Exception:  # a foreign network may look at values, which are not there
        return Cost(parameters)


def _count_graph(path: Path, height: int, width: int) -> Cost:
    """Counts the layers of an ONNX graph, for LR images of this size."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    held = {tensor.name for tensor in graph.initializer}
    (image, *_) = (entry for entry in graph.input if entry.name not in held)
    shape = image.type.tensor_type.shape.dim
    last = len(shape) == 4 and shape[1].dim_value not in (1, 3)
    if len(shape) != 4 or shape[3 if last else 1].dim_value not in (1, 3):
        return Cost(_count_held(graph))
    # One image; where the graph fixes its size, of that, in proportion.
    fixed = [dim.dim_value for dim in shape]
    tall, wide = fixed[2 - last] or height, fixed[3 - last] or width
    wanted = [1, tall, wide, fixed[3]] if last else [1, fixed[1], tall, wide]
    for dim, length in zip(shape, wanted, strict=True):
        dim.dim_value = length
    # Shapes that were written for another size.
    del graph.value_info[:]
    for entry in graph.output:
        entry.type.tensor_type.ClearField("shape")
    try:
        # Twice: converters to fp16 append casts behind the nodes that read them.
        for _ in range(2):
            model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # shapes that contradict one another
        return Cost(_count_held(graph))
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        shapes[entry.name] = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    counts = [_count_node(node, shapes) for node in graph.node if node.op_type in _LAYERS[:4]]
    known = [count for count in counts if count]
    if len(known) < len(counts):
        return Cost(_count_held(graph))
    return Cost(_count_held(graph), round(sum(known) * height * width / (tall * wide)))


def _count_node(node: Any, shapes: dict[str, list[int]]) -> int:
    """The multiply-accumulates of a layer; 0 where a shape is unknown."""
    source, weight, result = (shapes.get(name, []) for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":
        return prod(result) * prod(weight[1:]) if result and weight else 0
    if node.op_type == "ConvTranspose":
        return prod(source) * prod(weight[1:]) if source and weight else 0
    if node.op_type == "Gemm":
        transposed = any(item.name == "transA" and item.i for item in node.attribute)
        return prod(result) * source[0 if transposed else -1] if result and source else 0
    return prod(result) * source[-1] if result and source else 0


def _count_held(graph: Any) -> int:
    """The values that layers hold."""
    sizes = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    origins = {name: node for node in graph.node for name in node.output}
    constants = {
        node.output[0]: prod(item.t.dims)
        for node in graph.node
        if node.op_type == "Constant"
        for item in node.attribute
        if item.name == "value"
    }
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _LAYERS:
            for name in node.input[1:]:
                while name in origins and origins[name].op_type in _PASSING:
                    name = origins[name].input[0]
                found[name] = sizes.get(name, constants.get(name, 0))
    return sum(found.values())


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


def count_stored(path: Path) -> int:
    """The number of parameters in a safetensors file, without buffers. Imports no torch."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
        # Of batch norm, and SPAN's mark.
        buffers = ("running_mean", "running_var", "num_batches_tracked", "no_norm")
        return sum(math.prod(part.get_shape()) for key, part in slices.items() if not key.endswith(buffers))


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
