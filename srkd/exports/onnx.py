"""ONNX: graphs by torch's exporter, and files."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srkd.errors import UsageError
from srkd.exports.int8 import quantize
from srkd.exports.request import ANY, Request, Shape
from srkd.runtimes import onnxruntime

_AXES = {0: "batch", 2: "height", 3: "width"}


def to_onnx(fused: nn.Module, shape: Shape = ANY) -> Any:
    """A fused network as an ONNX `ModelProto`, of dynamic batch, height and width where the shape leaves them
    open.

    Raises:
        UsageError: the network cannot be written in this opset, or a name is taken inside it.
    """
    fixed = {0: shape.batch, 2: shape.size, 3: shape.size}
    axes = {axis: name for axis, name in _AXES.items() if fixed[axis] is None}
    program = torch.onnx.export(
        fused,
        (torch.zeros(shape.example),),
        input_names=[shape.names[0]],
        output_names=[shape.names[1]],
        dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),) if axes else None,
        opset_version=shape.opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    found = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if found != shape.opset:
        raise UsageError(f"this network cannot be written in opset {shape.opset}; {found} works")
    _check_names(proto.graph, shape.names)
    for value, prefix in ((proto.graph.input[0], ""), (proto.graph.output[0], f"{shape.names[1]}_")):
        for axis, name in axes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = prefix + name
    drop_traces(proto.graph)
    return proto


def _check_names(graph: Any, names: tuple[str, str]) -> None:
    """Raises UsageError where a name that was asked for is also that of a value inside."""
    values = [name for node in graph.node for name in node.output]
    values += [entry.name for entry in (*graph.initializer, *graph.input)]
    for name in names:
        if values.count(name) > 1:
            raise UsageError(f"--names: a value inside the network is called {name}, too; choose another")


def drop_traces(graph: Any) -> None:
    """Removes what torch notes on an ONNX graph's nodes and values about where in the source they come from:
    stack traces, with the paths of the machine that exported it."""
    for entry in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        kept = [item for item in entry.metadata_props if not item.key.startswith("pkg.torch.")]
        del entry.metadata_props[:]
        entry.metadata_props.extend(kept)


def write_file(request: Request, path: Path) -> None:
    """Writes an `.onnx` file, with what is known about the network in its metadata."""
    import onnx

    # A copy: the conversion to fp16 changes the graph that it is given.
    proto = copy.deepcopy(request.graph())
    if request.precision == "fp16":
        onnxruntime.import_onnxruntime()
        from onnxruntime.transformers.float16 import convert_float_to_float16

        proto = convert_float_to_float16(proto, keep_io_types=True)
    elif request.precision == "int8":
        proto = quantize(proto, request.calibration, request.floats)
    onnx.helper.set_model_props(proto, {"srkd": request.describe()})
    path.write_bytes(proto.SerializeToString())
