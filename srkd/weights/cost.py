"""What weights cost to run, whatever their format: parameters, and multiply-accumulates for an image."""

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from srkd.weights.catalogue import find_weights
from srkd.weights.store import load_generator

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


def count_cost(weights: str | Path, height: int = 720, width: int = 1280) -> Cost:
    """Counts what weights cost. Nothing is computed.

    Args:
        weights: a file or shipped name, in the forms that `load_generator` takes.
        height, width: size of the output in pixels.

    Raises:
        UsageError, SrkdError: as `load_generator` does.
    """
    path = find_weights(weights)
    model = load_generator(path)
    if path.suffix == ".onnx":
        return _count_graph(path, -(-height // model.scale), -(-width // model.scale))
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
    if len(shape) != 4 or shape[1].dim_value not in (1, 3):
        return Cost(_count_held(graph))
    # One image; where the graph fixes its size, of that, in proportion.
    fixed = [dim.dim_value for dim in shape]
    wanted = [1, fixed[1], fixed[2] or height, fixed[3] or width]
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
    return Cost(_count_held(graph), round(sum(known) * height * width / (wanted[2] * wanted[3])))


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
