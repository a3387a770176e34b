"""Between the faithful and the sharp weights of a shipped pair: ESRGAN's network interpolation (Wang et al.
2018, arXiv 1809.00219, section 3.4), of ONNX files without torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srkd.errors import SrkdError, UsageError
from srkd.files import StrPath
from srkd.weights.catalogue import list_shipped

_FAITHFUL, _SHARP = "_psnr", "_gan"
# Of ONNX's types of tensors, those that are interpolated.
_FLOATS = {1: "<f4", 10: "<f2"}
# Fields of ONNX's messages (onnx.proto): the model's graph, the graph's tensors, and of a tensor the type of
# its values and their bytes.
_GRAPH, _TENSOR, _TYPE, _BYTES = 7, 5, 2, 9


def find_pair(weights: StrPath) -> tuple[str, str]:
    """The names of the faithful and the sharp weights of the pair that a shipped name belongs to.

    Raises:
        UsageError: it belongs to none.
    """
    shipped = list_shipped()
    stem = str(weights).removesuffix(_FAITHFUL).removesuffix(_SHARP)
    pair = stem + _FAITHFUL, stem + _SHARP
    if str(weights) in pair and set(pair) <= set(shipped):
        return pair
    pairs = [
        name for name in shipped if name.endswith(_SHARP) and name[: -len(_SHARP)] + _FAITHFUL in shipped
    ]
    raise UsageError(
        f"--sharpness goes with shipped pairs, not with {weights}; give -w one of {', '.join(pairs)}, or "
        "blend your own with srkd interpolate"
    )


def blend_onnx(near: Path, far: Path, share: float) -> bytes:
    """An ONNX file with the weights (1 - share) near + share far, of two that were exported from one
    architecture.

    Raises:
        SrkdError: their graphs differ in more than their weights.
    """
    first, result = near.read_bytes(), bytearray(far.read_bytes())
    ours, theirs = list(_find_tensors(first)), list(_find_tensors(result))
    if [x.kind for x in ours] != [x.kind for x in theirs] or _frame(first, ours) != _frame(result, theirs):
        raise SrkdError(f"{near.name} and {far.name} are not of one architecture; export them again")
    for a, b in zip(ours, theirs, strict=True):
        if a.kind in _FLOATS:
            x, y = (
                np.frombuffer(
                    data, _FLOATS[t.kind], (t.stop - t.start) // np.dtype(_FLOATS[t.kind]).itemsize, t.start
                )
                for data, t in ((first, a), (bytes(result), b))
            )
            # In float64, so that the shares 0 and 1 are exact.
            mixed = x.astype(np.float64) * (1 - share) + y.astype(np.float64) * share
            result[b.start : b.stop] = mixed.astype(_FLOATS[b.kind]).tobytes()
    return bytes(result)


class _Tensor(NamedTuple):
    """The type of a tensor's values, and where in the file they are."""

    kind: int
    start: int
    stop: int


def _frame(data: bytes | bytearray, tensors: list[_Tensor]) -> bytes:
    """A file's graph without the values that are interpolated."""
    start, stop = next((a, b) for field, a, b in _walk(data, 0, len(data)) if field == _GRAPH)
    pieces = []
    for tensor in tensors:
        if tensor.kind in _FLOATS:
            pieces.append(bytes(data[start : tensor.start]))
            start = tensor.stop
    return b"|".join([*pieces, bytes(data[start:stop])])


def _find_tensors(data: bytes | bytearray) -> Iterator[_Tensor]:
    for field, start, stop in _walk(data, 0, len(data)):
        if field != _GRAPH:
            continue
        for inner, first, last in _walk(data, start, stop):
            if inner == _TENSOR:
                found = {number: (a, b) for number, a, b in _walk(data, first, last)}
                kind = _read_varint(data, found[_TYPE][0])[0]
                yield _Tensor(kind, *found.get(_BYTES, (last, last)))


def _walk(data: bytes | bytearray, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a protobuf message: number, and where its content begins and ends."""
    while place < end:
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == 0:
            stop = _read_varint(data, place)[1]
        elif kind == 2:
            size, place = _read_varint(data, place)
            stop = place + size
        else:
            stop = place + (8 if kind == 1 else 4)
        yield key >> 3, place, stop
        place = stop


def _read_varint(data: bytes | bytearray, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
