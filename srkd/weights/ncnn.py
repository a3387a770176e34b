"""ncnn networks as torch modules: the families that Real-ESRGAN's models belong to."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from srkd.runtimes.ncnn_files import Layer, Network, read_network


class Converted(NamedTuple):
    """A network's weights.

    Args:
        state: a state dict that spandrel knows.
        resize: the factor by which the network resizes its output in the end, and how; None where it doesn't.
    """

    state: dict[str, Tensor]
    resize: tuple[float, str] | None


class _Graph:
    """Expressions, each with a number: equal ones have the same."""

    def __init__(self) -> None:
        self.numbers: dict[tuple, int] = {}
        self.convolutions = 0

    def __call__(self, *parts: object) -> int:
        return self.numbers.setdefault(parts, len(self.numbers))

    def conv(self, x: int) -> int:
        """The next convolution, 3x3 with zeros around."""
        self.convolutions += 1
        return self("conv", self.convolutions - 1, x)

    def add(self, *terms: int) -> int:
        return self("add", *sorted(terms))


class _Trace(NamedTuple):
    """What a network computes.

    Args:
        graph, result: the expression.
        convolutions: the layers' names in order.
        slopes: of the activations in order, for negative inputs.
        resize: as in Converted.
    """

    graph: _Graph
    result: int
    convolutions: list[str]
    slopes: list[np.ndarray]
    resize: tuple[float, str] | None


def convert(network: Network) -> Converted | None:
    """A network's weights under the names that spandrel knows, or None where it is neither an RRDBNet
    (ESRGAN, Real-ESRGAN x4plus; arXiv 1809.00219) nor an SRVGG (Compact, realesr-animevideov3; arXiv
    2107.10833).

    The whole graph is compared with the family's, so that nothing computes something else than the file says.
    """
    traced = _trace(network) if network.weights is not None else None
    if traced is None:
        return None
    for family in (_rrdb, _compact):
        names = family(traced)
        if names is not None:
            state = _name_weights(network, traced, *names)
            return Converted(state, traced.resize)
    return None


def is_convertible(path: Path) -> bool:
    """Whether `convert` knows the family of a `.param` file. Raises as `read_network` does."""
    return convert(read_network(path)) is not None


def _rrdb(traced: _Trace) -> tuple[list[str], list[str]] | None:
    """The names of an RRDBNet's convolutions, in ESRGAN's old layout, which knows every scale."""
    count = len(traced.convolutions)
    ups = sum(parts[0] == "nearest" for parts in traced.graph.numbers)
    blocks = (count - 4 - ups) // 15
    if blocks < 1 or not all(np.allclose(slope, 0.2, atol=1e-4) for slope in traced.slopes):
        return None
    graph = traced.graph
    graph.convolutions = 0
    x = h = graph.conv(graph("input"))
    for _ in range(blocks):
        start = h
        for _ in range(3):
            dense = [h]
            for _ in range(4):
                dense.append(graph("act", graph.conv(graph("concat", *dense) if len(dense) > 1 else h)))
            h = graph.add(graph("scale", 0.2, graph.conv(graph("concat", *dense))), h)
        h = graph.add(graph("scale", 0.2, h), start)
    h = graph.add(graph.conv(h), x)
    for _ in range(ups):
        h = graph("act", graph.conv(graph("nearest", 2.0, h)))
    h = graph.conv(graph("act", graph.conv(h)))
    if h != traced.result or graph.convolutions != count:
        return None
    body = [
        f"model.1.sub.{i}.RDB{j}.conv{k}.0" for i in range(blocks) for j in (1, 2, 3) for k in (1, 2, 3, 4, 5)
    ]
    tail = [3 * (k + 1) for k in range(ups)] + [3 * ups + 2, 3 * ups + 4]
    return ["model.0", *body, f"model.1.sub.{blocks}", *(f"model.{place}" for place in tail)], []


def _compact(traced: _Trace) -> tuple[list[str], list[str]] | None:
    """The names of an SRVGG's convolutions and slopes."""
    graph, count = traced.graph, len(traced.convolutions)
    scale = next((parts[1] for parts in graph.numbers if parts[0] == "shuffle"), None)
    if scale is None or count < 2 or len(traced.slopes) != count - 1:
        return None
    graph.convolutions = 0
    h = x = graph("input")
    for _ in range(count - 1):
        h = graph("act", graph.conv(h))
    if graph.add(graph("shuffle", scale, graph.conv(h)), graph("nearest", scale, x)) != traced.result:
        return None
    return [f"body.{2 * k}" for k in range(count)], [f"body.{2 * k + 1}.weight" for k in range(count - 1)]


def _name_weights(network: Network, traced: _Trace, names: list[str], slopes: list[str]) -> dict[str, Tensor]:
    state, arrays = {}, network.weights
    assert arrays is not None
    outputs = {layer.name: int(layer.number(0)) for layer in network.layers if layer.kind == "Convolution"}
    for name, layer in zip(names, traced.convolutions, strict=True):
        weight, bias = arrays[layer]
        state[f"{name}.weight"] = torch.tensor(weight.reshape(outputs[layer], -1, 3, 3))
        state[f"{name}.bias"] = torch.tensor(bias if len(bias) else np.zeros(outputs[layer], np.float32))
    for name, slope, layer in zip(slopes, traced.slopes, traced.convolutions, strict=False):
        state[name] = torch.tensor(np.broadcast_to(slope, outputs[layer]).astype(np.float32))
    return state


def _trace(network: Network) -> _Trace | None:
    """What a network computes, or None where it has a layer that neither family has."""
    graph, blobs = _Graph(), {}
    traced = _Trace(graph, 0, [], [], None)
    for layer in network.layers:
        if layer.kind in ("Input", "Split", "Noop"):
            value = graph("input") if layer.kind == "Input" else blobs[layer.inputs[0]]
        elif layer.kind in _READERS and traced.resize is None:
            value = _READERS[layer.kind](layer, [blobs[name] for name in layer.inputs], traced, network)
        else:
            return None
        if isinstance(value, tuple):
            traced = traced._replace(resize=value)
            value = blobs[layer.inputs[0]]
        if value is None:
            return None
        blobs |= dict.fromkeys(layer.outputs, value)
    return traced._replace(result=blobs[network.result])


def _read_convolution(layer: Layer, inputs: list[int], traced: _Trace, network: Network) -> int | None:
    # Kernel, dilation, stride, padding and what it pads with, across; down the same where it is not given.
    for key, expected, default in ((1, 3, 0), (2, 1, 1), (3, 1, 1), (4, 1, 0), (18, 0, 0)):
        across = layer.number(key, default)
        if across != expected or (key != 18 and layer.number(key + 10, across) != expected):
            return None
    if layer.number(6) % (9 * max(layer.number(0), 1)) or layer.number(9) not in (0, 1, 2):
        return None
    traced.convolutions.append(layer.name)
    value = traced.graph.conv(inputs[0])
    if layer.number(9):
        slope = layer.numbers(10)[0] if layer.number(9) == 2 and layer.numbers(10) else 0.0
        traced.slopes.append(np.array([slope], np.float32))
        value = traced.graph("act", value)
    return value


def _read_activation(layer: Layer, inputs: list[int], traced: _Trace, network: Network) -> int:
    assert network.weights is not None
    slope = (
        network.weights[layer.name][0] if layer.kind == "PReLU" else np.array([layer.number(0)], np.float32)
    )
    traced.slopes.append(slope)
    return traced.graph("act", inputs[0])


def _read_sum(layer: Layer, inputs: list[int], traced: _Trace, network: Network) -> int | None:
    """BinaryOp and Eltwise: sums, and products with a number."""
    graph = traced.graph
    if layer.kind == "BinaryOp" and layer.number(1):
        return graph("scale", round(layer.number(2), 5), inputs[0]) if layer.number(0) == 2 else None
    if layer.number(0) != (0 if layer.kind == "BinaryOp" else 1):
        return None
    factors = layer.numbers(1) if layer.kind == "Eltwise" else []
    pairs = zip(inputs, factors or [1.0] * len(inputs), strict=True)
    return graph.add(*(x if factor == 1 else graph("scale", round(factor, 5), x) for x, factor in pairs))


def _read_concat(layer: Layer, inputs: list[int], traced: _Trace, network: Network) -> int | None:
    return traced.graph("concat", *inputs) if layer.number(0) == 0 else None


def _read_interpolation(
    layer: Layer, inputs: list[int], traced: _Trace, network: Network
) -> int | tuple[float, str] | None:
    scale = layer.number(1, 1)
    fixed = layer.number(3) or layer.number(4) or layer.number(6)
    if scale != layer.number(2, 1) or fixed or len(inputs) != 1:
        return None
    if layer.number(0) == 1:
        return traced.graph("nearest", scale, inputs[0])
    mode = {2: "bilinear", 3: "bicubic"}.get(int(layer.number(0)))
    last = layer.outputs == [network.result]
    return (scale, mode) if mode and last else None


def _read_shuffle(layer: Layer, inputs: list[int], traced: _Trace, network: Network) -> int | None:
    return None if layer.number(1) else traced.graph("shuffle", layer.number(0, 1), inputs[0])


_READERS: dict[str, Callable[[Layer, list[int], _Trace, Network], int | tuple[float, str] | None]] = {
    "Convolution": _read_convolution,
    "PReLU": _read_activation,
    "ReLU": _read_activation,
    "BinaryOp": _read_sum,
    "Eltwise": _read_sum,
    "Concat": _read_concat,
    "Interp": _read_interpolation,
    "PixelShuffle": _read_shuffle,
}
