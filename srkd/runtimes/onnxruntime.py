"""ONNX Runtime, on the CPU: any super-resolution network in an ONNX file. Imports no torch."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from srkd.errors import SrkdError, UsageError, first_line
from srkd.runtimes import Settings
from srkd.runtimes.foreign import RANGES, Form, Opened, choose_form
from srkd.runtimes.runner import FOREIGN_RADIUS, UNKNOWN_MEMORY, Run, Runner, check_cpu
from srkd.terminal import note

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# The types of pixels that networks take and give.
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, with its telemetry off: 1.32 writes a device id and a database of events into the user's
    cache, as soon as it is imported and unless the environment says not to."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    # Where a program imported it before.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def open_runner(model: Path, name: str, settings: Settings) -> Runner:
    """Opens an ONNX file for tiles. Raises as `open_onnx` does."""
    check_cpu(settings, "ONNX Runtime")
    opened = open_onnx(model, settings.threads)
    memory = opened.info.get("memory", UNKNOWN_MEMORY)
    return Runner(name, opened.scale, opened.radius, opened.run, opened.exact, memory, "ONNX Runtime, CPU")


def open_file(path: Path, threads: int | None = None) -> Run:
    """Opens an ONNX file that srkd exported.

    Args:
        path: the file.
        threads: CPU threads; all cores when not given.

    Returns:
        A function from float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.

    Raises:
        SrkdError: the file is damaged.
    """
    return _bind(_start(path, threads))


def open_onnx(path: Path, threads: int | None = None) -> Opened:
    """Opens an ONNX file. One that this package did not export is tried out on a synthetic image, to find how
    it takes images: channels first or last, RGB or luma, any size or one (it is run on tiles then), the
    multiple that sizes must have, and the values of black and white.

    Raises:
        UsageError: the network does not enlarge images.
        SrkdError: the file is damaged.
    """
    session = _start(path, threads)
    header = read_header(session)
    # One of a fixed size or batch is run as those of other programs are: on tiles, or on copies.
    if header and not {"size", "batch"} & header.keys():
        scale, exact = header["scale"], header.get("exact", True)
        return Opened(path.stem, scale, header["radius"], _bind(session), header, exact)
    form, scale, run = choose_form(path, _list_forms(path, session))
    if form.channels == 1:
        note(f"{path.name} enlarges luma; chroma is enlarged bicubically")
    return Opened(path.stem, scale, FOREIGN_RADIUS, run, header)


def read_header(session: "InferenceSession") -> dict[str, Any]:
    """What srkd wrote into an ONNX file about it; empty for files of other programs."""
    header = json.loads(session.get_modelmeta().custom_metadata_map.get("srkd", "{}"))
    if "radius" not in header:
        return {}
    # Files of former releases name it in the configuration alone.
    return {"scale": (header.get("config") or {}).get("scale"), **header}


def read_facts(path: Path) -> dict[str, Any]:
    """What `read_header` reads, of a file. Raises SrkdError where it is damaged."""
    return read_header(_start(path))


def _start(path: Path, threads: int | None = None) -> "InferenceSession":
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    # Its errors come as exceptions; this session alone prints no log lines beside them.
    options.log_severity_level = 4
    # A plan for one size is of no use to the next, and would be kept in memory beside the first run's.
    options.enable_mem_pattern = False
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise SrkdError(
            f"{path} is not an ONNX model that ONNX Runtime can open: {first_line(error)}"
        ) from error
    if len(session.get_inputs()) != 1:
        raise UsageError(f"{path} takes {len(session.get_inputs())} inputs, not one image")
    return session


def _bind(session: "InferenceSession") -> Run:
    entry = session.get_inputs()[0]
    kind = np.float16 if entry.type == "tensor(float16)" else np.float32

    def run(batch: np.ndarray) -> np.ndarray:
        found = session.run(None, {entry.name: batch.astype(kind, copy=False)})[0]
        return np.asarray(found, dtype=np.float32)

    return run


def _list_forms(path: Path, session: "InferenceSession") -> Iterator[Callable[[], Form]]:
    """The ways in which a foreign network may take images, by the shape that its file declares."""
    entry, result = session.get_inputs()[0], session.get_outputs()[0]
    shape = list(entry.shape)
    if entry.type not in _TYPES or result.type not in _TYPES:
        raise UsageError(f"{path} maps {entry.type} to {result.type}, not images of floats or uint8")
    if len(shape) != 4:
        raise UsageError(f"{path} takes arrays of shape {_describe(shape)}, not batches of images")
    fixed = [side if isinstance(side, int) and side > 0 else None for side in shape]
    axes = [axis for axis in (1, 3) if fixed[axis] in (1, 3)]
    if not axes:
        # No number, or one that can only be a side of the image.
        axes = [axis for axis in (1, 3) if fixed[axis] is None and (fixed[4 - axis] or 32) >= 32]
    found = [(axis, channels) for axis in axes for channels in (3, 1) if fixed[axis] in (None, channels)]
    if not found:
        raise UsageError(f"{path} takes arrays of shape {_describe(shape)}, neither RGB images nor luma")
    for axis, channels in found:
        yield lambda axis=axis, channels=channels: _make_form(session, fixed, axis, channels)


def _describe(shape: list[Any]) -> str:
    return "x".join(str(side) if side is not None else "?" for side in shape) or "()"


def _make_form(session: "InferenceSession", fixed: list[int | None], axis: int, channels: int) -> Form:
    """A form whose channels are that axis."""
    entry, result = session.get_inputs()[0], session.get_outputs()[0]
    taken, given = _TYPES[entry.type], _TYPES[result.type]
    height, width = fixed[2:] if axis == 1 else fixed[1:3]

    def run(batch: np.ndarray) -> np.ndarray:
        values = batch.transpose(0, 2, 3, 1) if axis == 3 else batch
        # A network of a fixed batch is given copies.
        values = np.repeat(values, fixed[0] or 1, axis=0)
        if taken is np.uint8:
            values = np.rint(values.clip(0, 255))
        found = session.run(None, {entry.name: np.ascontiguousarray(values, dtype=taken)})[0]
        found = np.asarray(found, dtype=np.float32)
        found = found[None] if found.ndim == 3 else found[:1]
        # The output may have its channels elsewhere than the input.
        last = found.ndim == 4 and found.shape[3] == channels and (found.shape[1] != channels or axis == 3)
        return np.ascontiguousarray(found.transpose(0, 3, 1, 2)) if last else found

    ranges = [
        bounds
        for bounds in RANGES
        if all(
            kind is not np.uint8 or values[1] == 255
            for kind, values in zip((taken, given), bounds, strict=True)
        )
    ]
    return Form(run, channels, height, width, ranges)
