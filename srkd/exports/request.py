"""What is to be exported, in which shape, and what a format is."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import nn

from srkd.errors import UsageError
from srkd.models.base import Generator
from srkd.runtimes.runner import Run

Precision = Literal["fp32", "fp16", "int8"]
# A size at conversion where the file takes any; traces and examples need some.
EXAMPLE = (24, 32)
# ONNX's operator sets that torch's exporter and ONNX's converter write for the networks here; 14 and older
# lack what an enlargement takes.
OPSETS = range(15, 26)
# Real inputs are smaller by far; larger numbers are typing errors that would fill the memory.
_LARGEST_SIDE, _LARGEST_BATCH = 8192, 256


class Shape(NamedTuple):
    """The shape and the names of a graph's input and output.

    Args:
        size: the only LR height and width that it takes; None where it takes any.
        batch: the only number of images that it takes at once; None where it takes any.
        names: of the input and the output.
        opset: ONNX's.
    """

    size: tuple[int, int] | None = None
    batch: int | None = None
    names: tuple[str, str] = ("lr", "sr")
    opset: int = 18

    @property
    def example(self) -> tuple[int, int, int, int]:
        """Sides of an input to convert with. Two images where any number may come: one would be taken for a
        constant."""
        height, width = self.size or EXAMPLE
        return self.batch or 2, 3, height, width


ANY = Shape()


class Request(NamedTuple):
    """What to export.

    Args:
        model: the generator.
        fused: its fused copy.
        graph: makes an ONNX graph of the fused copy; called again, it returns the same graph.
        header: facts about the generator, stored in the file.
        precision: what the weights are stored in.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
        shape: of the graph.
        floats: for int8, names of convolutions that stay float32, beside the first and the last.
    """

    model: Generator
    fused: nn.Module
    graph: Callable[[], Any]
    header: dict[str, Any]
    precision: Precision
    calibration: Sequence[np.ndarray]
    shape: Shape = ANY
    floats: Sequence[str] = ()

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
        options: those of Shape that it has.
        shape: what it has where an option is not given.
        note: what the user should know of the check.
    """

    suffix: str
    beside: tuple[str, ...]
    write: Callable[[Request, Path], None]
    open: Callable[[Path], Run]
    precisions: tuple[Precision, ...]
    packages: tuple[str, ...] = ()
    batches: bool = True
    options: tuple[str, ...] = ()
    shape: Shape = ANY
    note: str = ""


def read_shape(
    start: Shape,
    size: str | None = None,
    batch: int | None = None,
    names: str | None = None,
    opset: int | None = None,
) -> Shape:
    """A shape with what options say instead.

    Args:
        start: what holds where an option is not given.
        size: `WIDTHxHEIGHT` in LR pixels.
        batch: the number of images.
        names: `INPUT,OUTPUT`.
        opset: ONNX's operator set.

    Raises:
        UsageError: an option says something that no graph has.
    """
    if size is not None:
        start = start._replace(size=_read_size(size))
    if batch is not None:
        if not 1 <= batch <= _LARGEST_BATCH:
            raise UsageError(f"--batch takes 1 to {_LARGEST_BATCH} images, not {batch}")
        start = start._replace(batch=batch)
    if names is not None:
        start = start._replace(names=_read_names(names))
    if opset is not None:
        if opset not in OPSETS:
            raise UsageError(f"--opset takes {OPSETS[0]} to {OPSETS[-1]}, not {opset}")
        start = start._replace(opset=opset)
    return start


def _read_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[xX](\d+)", text.strip())
    if found is None or not all(1 <= int(side) <= _LARGEST_SIDE for side in found.groups()):
        raise UsageError(f"--size takes WIDTHxHEIGHT of LR images in pixels, as 320x180, not '{text}'")
    return int(found[2]), int(found[1])


def _read_names(text: str) -> tuple[str, str]:
    found = [name.strip() for name in text.split(",")]
    fitting = [name for name in found if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII)]
    if len(set(fitting)) != 2 or len(found) != 2:
        raise UsageError(
            f"--names takes the names of the input and the output, as input,output, not '{text}'; letters, "
            "digits and _, a letter first"
        )
    return found[0], found[1]
