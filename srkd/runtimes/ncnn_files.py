"""Reads ncnn's files: the graph in a `.param` file, and the weights in the `.bin` beside it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srkd.errors import SrkdError, UsageError

_MAGIC, _BINARY_MAGIC = b"7767517", b"\xdd\x85\x76\x00"
# What precedes an array of weights: how its values are stored.
_FP32, _RAW, _FP16, _INT8 = 0, 0x0002C056, 0x01306B47, 0x000D4B38
_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise")
# Real networks have a few hundred kilobytes of text, and enlarge by a factor of 16 at most.
_LONGEST, _LARGEST_FACTOR = 64 * 2**20, 16
# Layers whose weights are stored in ways that are not read here: a file is not checked beyond the first.
_OTHER_WEIGHTS = {
    *("LSTM", "GRU", "RNN", "MultiHeadAttention", "Gemm", "Quantize", "Dequantize", "Requantize", "RMSNorm"),
    *("Normalize", "DeformableConv2D", "Spectrogram", "InverseSpectrogram"),
    *(f"{kind}{axes}D" for kind in _CONVOLUTIONS for axes in (1, 3)),
}


class Layer(NamedTuple):
    """A line of a `.param` file: its numbered parameters are numbers or lists of numbers."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    values: dict[int, float | list[float]]

    def number(self, key: int, default: float = 0) -> float:
        """A parameter that is one number."""
        value = self.values.get(key, default)
        return default if isinstance(value, list) else value

    def numbers(self, key: int) -> list[float]:
        """A parameter that is a list of numbers."""
        value = self.values.get(key, [])
        return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Network:
    """A network in ncnn's format.

    Args:
        layers: in the order in which they run.
        source, result: the names of the blobs that hold the image and what the network makes of it.
        weights: each layer's arrays, float32 and flat, by the layer's name; None where the file has weights
            of a kind that is not read here.
    """

    layers: list[Layer]
    source: str
    result: str
    weights: dict[str, list[np.ndarray]] | None


def read_network(path: Path) -> Network:
    """Reads a `.param` file and the `.bin` beside it. Nothing larger than the two files is allocated.

    Raises:
        UsageError: it is not a network that takes one image and gives one, or the `.bin` is missing.
        SrkdError: either file is damaged, or the `.bin` belongs to another network.
    """
    layers = _read_layers(path)
    source, result = _find_ends(path, layers)
    binary = weights_of(path)
    if not binary.is_file():
        raise UsageError(f"{binary} is missing; ncnn keeps the weights of {path.name} there")
    return Network(layers, source, result, _read_weights(path, binary, layers))


def weights_of(path: Path) -> Path:
    """The file that holds the weights of a `.param` file."""
    return path.with_suffix(".bin")


def _read_layers(path: Path) -> list[Layer]:
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start[:4] == _BINARY_MAGIC:
        raise UsageError(f"{path} is a binary ncnn file (.param.bin); give the text .param")
    if start != _MAGIC or path.stat().st_size > _LONGEST:
        raise UsageError(f"{path} is not an ncnn .param file, whose first line is {_MAGIC.decode()}")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[1:]
        filled = [(number, line.split()) for number, line in enumerate(lines, 2) if line.split()]
        count = int(filled[0][1][0])
    except (UnicodeDecodeError, IndexError, ValueError) as error:
        raise SrkdError(f"{path} is damaged: line 2 does not say how many layers there are") from error
    foreign = next((words[0] for _, words in filled[1:] if "." in words[0] or "::" in words[0]), None)
    if foreign is not None:
        raise UsageError(f"{path} has layers of pnnx ({foreign}); give the .ncnn.param that pnnx writes, too")
    layers = []
    for number, words in filled[1:]:
        try:
            layers.append(_read_layer(words))
        except (IndexError, ValueError) as error:
            raise SrkdError(f"{path} is damaged: line {number} is not a layer") from error
    if len(layers) != count:
        raise SrkdError(f"{path} is damaged: its second line says {count} layers, and it has {len(layers)}")
    return layers


def _read_layer(words: list[str]) -> Layer:
    kind, name, taken, given = words[0], words[1], int(words[2]), int(words[3])
    blobs, pairs = words[4 : 4 + taken + given], words[4 + taken + given :]
    if taken < 0 or given < 0 or len(blobs) != taken + given:
        raise ValueError("fewer blobs than it says")
    values: dict[int, float | list[float]] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        # From -23300 downwards: a list, its length first.
        if int(key) <= -23300:
            values[-int(key) - 23300] = [float(word) for word in text.split(",")[1:]]
        else:
            values[int(key)] = [float(word) for word in text.split(",")] if "," in text else float(text)
    return Layer(kind, name, blobs[:taken], blobs[taken:], values)


def _find_ends(path: Path, layers: list[Layer]) -> tuple[str, str]:
    """The blobs that go in and come out."""
    made: set[str] = set()
    for layer in layers:
        unknown = [blob for blob in layer.inputs if blob not in made]
        if unknown:
            raise SrkdError(f"{path} is damaged: {layer.name} reads {unknown[0]}, which nothing before gives")
        made |= set(layer.outputs)
        _check_size(path, layer)
    sources = [blob for layer in layers if layer.kind == "Input" for blob in layer.outputs]
    read = {blob for layer in layers for blob in layer.inputs}
    results = [blob for layer in layers for blob in layer.outputs if blob not in read]
    if len(sources) != 1 or len(results) != 1:
        raise UsageError(
            f"{path} takes {len(sources)} inputs and gives {len(results)} outputs, not one image each"
        )
    return sources[0], results[0]


def _check_size(path: Path, layer: Layer) -> None:
    """Raises SrkdError for a layer that would fill the memory."""
    factors = {"Interp": (1, 2), "PixelShuffle": (0,), "Deconvolution": (3, 13), "Tile": (1,)}
    for key in factors.get(layer.kind, ()):
        if not layer.number(key, 1) <= _LARGEST_FACTOR:
            times = f"{layer.number(key):g} times"
            raise SrkdError(f"{path}: {layer.name} enlarges {times}, which no SR network does")
    if not all(math.isfinite(value) for key in layer.values for value in layer.numbers(key)):
        raise SrkdError(f"{path}: {layer.name} has parameters that are not finite numbers")


def _list_arrays(layer: Layer) -> Iterator[tuple[str, int]]:
    """A layer's arrays: how each is stored, behind a `flag` or as `plain` float32, and how many values."""
    kind, outputs = layer.kind, int(layer.number(0))
    if kind in _CONVOLUTIONS:
        # Weights that are another layer's output are not stored.
        if not layer.number(19):
            yield "flag", int(layer.number(6))
            yield "plain", outputs if layer.number(5) else 0
    elif kind in ("InnerProduct", "Embed"):
        bias, size = (1, 2) if kind == "InnerProduct" else (2, 3)
        yield "flag", int(layer.number(size))
        yield "plain", outputs if layer.number(bias) else 0
    elif kind == "PReLU":
        yield "plain", outputs
    elif kind == "BatchNorm":
        yield from [("plain", outputs)] * 4
    elif kind in ("Scale", "Bias"):
        yield "plain", max(outputs, 0)
        yield "plain", outputs if kind == "Scale" and layer.number(1) else 0
    elif kind in ("InstanceNorm", "LayerNorm", "GroupNorm"):
        affine, size = {"InstanceNorm": (2, 0), "LayerNorm": (2, 0), "GroupNorm": (3, 1)}[kind]
        yield from [("plain", int(layer.number(size)) if layer.number(affine, 1) else 0)] * 2
    elif kind == "MemoryData":
        sides = [int(layer.number(key)) or 1 for key in (0, 1, 11, 2)]
        yield "plain" if layer.number(21, 1) else "flag", math.prod(sides)


def _read_weights(path: Path, binary: Path, layers: list[Layer]) -> dict[str, list[np.ndarray]] | None:
    data = np.fromfile(binary, np.uint8)
    place, found = 0, {}

    def take(count: int, kind: type, name: str) -> np.ndarray:
        nonlocal place
        size = count * np.dtype(kind).itemsize
        if count < 0 or place + size > len(data):
            raise SrkdError(
                f"{binary} is truncated, or belongs to another network than {path.name}: layer {name} needs "
                f"{place + size:,} bytes, and it has {len(data):,}"
            )
        # Everything starts at a multiple of four bytes.
        values, place = data[place : place + size].view(kind), place + -(-size // 4) * 4
        return values

    for layer in layers:
        if layer.kind in _OTHER_WEIGHTS:
            return None
        arrays = []
        for storage, count in _list_arrays(layer):
            kind: type = np.float32
            if storage == "flag":
                flag = int(take(1, np.uint32, layer.name)[0])
                if flag == _INT8:
                    return None
                if flag not in (_FP32, _RAW, _FP16):
                    raise SrkdError(
                        f"{binary} is damaged, or belongs to another network than {path.name}: the weights "
                        f"of layer {layer.name} start with {flag:#x}"
                    )
                kind = np.float16 if flag == _FP16 else np.float32
            arrays.append(take(count, kind, layer.name).astype(np.float32))
        found[layer.name] = arrays
    if place != len(data):
        raise SrkdError(
            f"{binary} belongs to another network than {path.name}, which needs {place:,} of its "
            f"{len(data):,} bytes"
        )
    return found
