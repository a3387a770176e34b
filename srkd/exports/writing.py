"""Writes generators in the formats of other programs, after checking each in its own runtime."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from srkd.errors import SrkdError, UsageError, first_line
from srkd.exports.checks import (
    BOUNDS,
    TUNED_LOSS,
    at_any_size,
    check_loss,
    check_parity,
    measure_precision,
)
from srkd.exports.formats import FORMATS
from srkd.exports.int8 import fit
from srkd.exports.onnx import to_onnx
from srkd.exports.request import Format, Precision, Request, Shape
from srkd.exports.rounding import find_sensitive
from srkd.exports.tuning import tune
from srkd.files import publish
from srkd.models.base import Generator
from srkd.models.cost import count_memory
from srkd.models.fusing import fuse
from srkd.runtimes.runner import UNKNOWN_MEMORY
from srkd.terminal import Progress
from srkd.weights.foreign import ForeignGenerator, RuntimeGenerator
from srkd.weights.quiet import ignoring_warnings

# Steps of fine-tuning for int8: a minute or two of one core for the shipped students.
STEPS = 200


def write_onnx(
    model: Generator,
    target: Path,
    precision: Precision = "fp32",
    calibration: Sequence[np.ndarray] = (),
    **header: Any,
) -> None:
    """Writes a generator to an ONNX file, fused and checked. Prints nothing.

    Args:
        model: the generator, in eval mode.
        target: a name ending in `.onnx`.
        precision: `fp32`, `fp16` or `int8`.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
        header: facts to keep in the file's metadata, beside those about the model.

    Raises:
        SrkdError: the file computes something else than the generator, or cannot be written.
    """
    write_checked(model, target, "onnx", precision, calibration, header)


def write_checked(
    model: Generator,
    target: Path,
    format: str,
    precision: Precision,
    calibration: Sequence[np.ndarray],
    facts: dict[str, Any],
    shape: Shape | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> str:
    """Writes an export and checks it.

    Args:
        model: the generator, in eval mode.
        target: the file.
        format: a key of FORMATS.
        precision: one that the format has.
        calibration: for int8, LR images `(1, 3, H, W)` in [0, 1] that set its ranges.
        facts: to keep in the file, beside those about the model.
        shape: the graph's; the format's own when None.
        steps: of fine-tuning where int8 loses more than TUNED_LOSS; 0 for none.
        progress: called as progress(description, done, total) while it works.

    Returns:
        What the checks found, as a sentence.

    Raises:
        UsageError: the network runs in another runtime than torch.
        SrkdError: the format cannot hold the network, the file computes something else than the generator, or
            cannot be written.
    """
    kind, fused = FORMATS[format], _simplify(model)
    shape = shape or kind.shape
    header = {"config": model.config, "radius": model.radius, "scale": model.scale, "precision": precision}
    header |= {"exact": model.exact, "memory": _count_memory(fused), "license": "unknown"}
    header |= {**model.info, **facts}
    if format in ("onnx", "openvino"):
        header["opset"] = shape.opset
    header |= {key: getattr(shape, key) for key in ("size", "batch") if getattr(shape, key) is not None}
    # Cached: fp16 and int8 write the graph twice.
    graph = cache(lambda: to_onnx(fused, shape))
    fitting = [fit(image, shape) for image in calibration]
    with publish(target, kind.beside, kind.suffix == ".mlpackage") as draft, _quietly():
        with _explaining(model, format):
            floats = find_sensitive(fused, calibration, progress) if precision == "int8" else ()
            request = Request(model, fused, graph, header, precision, fitting, shape, floats)
            kind.write(request, draft)
            run = kind.open(draft)
            maximum, mean = check_parity(model, run, BOUNDS[precision], kind.batches, shape)
        found = [f"differs from torch on noise by at most {maximum:.2g}, {mean:.2g} on average"]
        if precision != "fp32":
            found += [f"{', '.join(floats)} in float32: int8 harms images most there"] if floats else []
            found += _measure(request, kind, draft, calibration, steps, progress)
    named = f"{format}, opset {shape.opset}" if format == "onnx" else format
    if shape.size is not None:
        named += f", {shape.size[0]} pixels high and {shape.size[1]} wide"
    if shape.batch is not None:
        named += f", {shape.batch} image{'s' * (shape.batch > 1)} at once"
    found += [kind.note] if kind.note else []
    return f"{target}: {named}, {precision}, {'; '.join(found)}"


def _measure(
    request: Request,
    kind: Format,
    draft: Path,
    images: Sequence[np.ndarray],
    steps: int,
    progress: Progress | None,
) -> list[str]:
    """Measures an export against fp32. One in int8 that loses too much is fine-tuned, and written again if
    that helps.

    Returns:
        What was found, as phrases.

    Raises:
        SrkdError: int8 loses too much all the same.
    """
    scale, shape = request.model.scale, request.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / draft.name
        kind.write(request._replace(precision="fp32"), path)
        plain = at_any_size(kind.open(path), shape, scale)
        first = measure_precision(at_any_size(kind.open(draft), shape, scale), plain, scale)
        if request.precision != "int8":
            # What its own runtime takes is not known where another computed it.
            return [first.describe(timed=not kind.note)]
        if first.loss <= TUNED_LOSS or not steps or request.model.config is None:
            check_loss(first)
            return [first.describe()]
        tuned = tune(request.fused, images, steps, progress, request.floats)
        again = request._replace(
            fused=tuned,
            graph=cache(lambda: to_onnx(tuned, shape)),
            header={**request.header, "tuned": f"int8, {steps} steps"},
        )
        path = Path(folder) / f"tuned{draft.suffix}"
        kind.write(again, path)
        second = measure_precision(at_any_size(kind.open(path), shape, scale), plain, scale)
        better = second.own > first.own
        check_loss(second if better else first)
        if not better:
            return [first.describe(), f"{steps} steps of fine-tuning did not help"]
        kind.write(again, draft)
    return [
        second.describe(),
        f"fine-tuned for {steps} steps: plain int8 lost {first.loss:.2f} dB, now {second.loss:.2f}",
    ]


def write_draft(
    model: Generator,
    target: Path,
    format: str,
    precision: Precision,
    size: tuple[int, int] | None = None,
) -> int:
    """Writes an export without running it, for timing networks whose weights do not matter; int8 is
    calibrated on noise.

    Args:
        model: the generator, in eval mode.
        target: the file; what belongs to it goes beside it.
        format: a key of FORMATS.
        precision: one that the format has.
        size: width and height of the LR image where the format's files have one; its own when None.

    Returns:
        The bytes of its files.

    Raises:
        SrkdError: the format cannot hold the network, or the file cannot be written.
    """
    kind, fused = FORMATS[format], _simplify(model)
    header = {"config": model.config, "radius": model.radius, "scale": model.scale, "precision": precision}
    noise = np.random.default_rng(0).random((4, 1, 3, 64, 64), np.float32)
    shape = kind.shape._replace(size=(size[1], size[0])) if size else kind.shape
    fitting = [fit(image, shape) for image in noise]
    graph = cache(lambda: to_onnx(fused, shape))
    request = Request(model, fused, graph, header, precision, fitting, shape)
    with publish(target, kind.beside, kind.suffix == ".mlpackage") as draft, _quietly():
        kind.write(request, draft)
    return count_bytes(target, format)


def count_bytes(path: Path, format: str) -> int:
    """The size of an exported file with those that its runtime reads beside it."""
    beside = [path.with_suffix(suffix) for suffix in FORMATS[format].beside if suffix != ".json"]
    return sum(file.stat().st_size for file in (path, *beside))


def _simplify(model: Generator) -> nn.Module:
    """The network as it is exported."""
    if isinstance(model, RuntimeGenerator):
        raise UsageError(
            f"{model.path.name} runs in {model.runtime}, and only networks that run in torch can be exported"
        )
    return _Computed(model) if isinstance(model, ForeignGenerator) else fuse(model)


class _Computed(nn.Module):
    """A foreign network without spandrel's call around it."""

    def __init__(self, model: ForeignGenerator):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.compute(x)


@contextmanager
def _explaining(model: Generator, format: str) -> Iterator[None]:
    """A network of others may do what a format has no place for, which shows in any error or in the check."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if model.config is not None:
            raise
        name = model.info.get("architecture", "foreign")
        raise SrkdError(f"{format} cannot hold this {name} network: {first_line(error)}") from error


def _count_memory(fused: nn.Module) -> float:
    try:
        return count_memory(fused)
    except Exception:  # of networks of others, which need not run without values
        return UNKNOWN_MEMORY


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, torch's exporters print nothing about their own business. Afterwards all is as it was."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.utils._pytree", "onnxscript")]
    # One thread at a time, so that the levels are restored, too.
    with ignoring_warnings():
        before = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
