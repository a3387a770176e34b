"""ONNX Runtime, on the CPU: any super-resolution network in an ONNX file. Imports no torch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srkd.errors import SrkdError, UsageError, first_line
from srkd.images import resample
from srkd.images.tensors import to_planes
from srkd.runtimes import Settings
from srkd.runtimes.runner import FOREIGN_RADIUS, UNKNOWN_MEMORY, Run, Runner, check_cpu

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
# Side of the image that foreign networks are tried on.
_SIDE = 128


@dataclass(frozen=True)
class OnnxModel:
    """A network that ONNX Runtime runs.

    Args:
        name: the file's stem.
        scale: its factor.
        radius: LR pixels around an output pixel that it depends on.
        run: maps float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`. Threads may share it.
        info: what this package wrote into the file about it; empty for files of other programs.
    """

    name: str
    scale: int
    radius: int
    run: Run
    info: dict[str, Any] = field(default_factory=dict)


def open_runner(model: Path, name: str, settings: Settings) -> Runner:
    """Opens an ONNX file for tiles. Raises as `open_onnx` does."""
    check_cpu(settings, "ONNX Runtime")
    opened = open_onnx(model, settings.threads)
    memory = opened.info.get("memory", UNKNOWN_MEMORY)
    exact = "radius" in opened.info
    return Runner(name, opened.scale, opened.radius, opened.run, exact, memory, "ONNX Runtime, CPU")


def open_file(path: Path) -> Run:
    """Opens an ONNX file that srkd exported.

    Returns:
        A function from float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.

    Raises:
        SrkdError: the file is damaged.
    """
    return _bind(_start(path))


def open_onnx(path: Path, threads: int | None = None) -> OnnxModel:
    """Opens an ONNX file. One that this package did not export is tried out on a synthetic image, to find its
    scale, the multiple that its sizes must have (images are padded to it), and whether white is 1 or 255.

    Raises:
        UsageError: the network does not enlarge RGB images, or takes only one size.
        SrkdError: the file is damaged.
    """
    session = _start(path, threads)
    run = _bind(session)
    header = json.loads(session.get_modelmeta().custom_metadata_map.get("srkd", "{}"))
    if "radius" in header:
        return OnnxModel(path.stem, header["config"]["scale"], header["radius"], run, header)
    shape = session.get_inputs()[0].shape
    if len(shape) == 4 and (isinstance(shape[2], int) or isinstance(shape[3], int)):
        raise UsageError(f"{path} takes only images of {shape[3]}x{shape[2]}; export it with dynamic sizes")
    scale, multiple, white = _try_out(path, run)

    def run_any(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[2:]
        pad = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
        padded = np.pad(batch, pad, mode="edge") if multiple > 1 else batch
        return run(padded * white)[..., : height * scale, : width * scale] / white

    return OnnxModel(path.stem, scale, FOREIGN_RADIUS, run_any)


def _start(path: Path, threads: int | None = None) -> "InferenceSession":
    import onnxruntime

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


def _try_out(path: Path, run: Run) -> tuple[int, int, float]:
    """A foreign network's scale, size multiple, and the value it takes for white."""
    image = to_planes(_draw(_SIDE, _SIDE))
    try:
        ratios = [a / b for a, b in zip(run(image).shape[2:], image.shape[2:], strict=True)]
    except Exception as error:  # as above
        raise UsageError(f"{path} does not run on RGB images: {first_line(error)}") from error
    scale = round(ratios[0])
    if ratios != [scale, scale] or scale < 1:
        raise UsageError(f"{path} does not enlarge an image by a whole factor")
    enlarged = resample.upscale_bicubic(image[0].transpose(1, 2, 0), scale).transpose(2, 0, 1)
    errors = {w: float(np.square(run(image * w)[0] / w - enlarged).mean()) for w in (1.0, 255.0)}
    # The first that gives 20 dB: a network that is nearly linear does well in either range.
    white = next((w for w, error in errors.items() if error < 0.01), None)
    if white is None:
        raise UsageError(
            f"{path} gives something else than an enlarged image, whether white is 1 or 255; is it a "
            "super-resolution network of RGB images?"
        )
    return scale, _find_multiple(path, run, scale), white


def _find_multiple(path: Path, run: Run, scale: int) -> int:
    """The smallest power of two that sizes must be divisible by."""
    for multiple in _MULTIPLES:
        # Odd multiples on both sides, so that twice the multiple would not fit.
        grow = -(-16 // (3 * multiple)) | 1
        height, width = 3 * multiple * grow, 5 * multiple * grow
        try:
            if run(to_planes(_draw(height, width))).shape[2:] == (height * scale, width * scale):
                return multiple
        except Exception:  # of whatever kind: the size does not fit
            continue
    raise UsageError(f"{path} takes no size that is a multiple of {_MULTIPLES[-1]} or less")


def _draw(height: int, width: int) -> np.ndarray:
    """An image `(height, width, 3)` float32 in [0, 1] with what photographs have: shading, edges and fine
    texture, in strong contrasts and other colours in each channel, so that neither a gray image nor one with
    its channels exchanged comes near it."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / _SIDE
    planes = []
    for channel in range(3):
        shading = 0.5 + 0.3 * np.sin(5 * x + 2.1 * channel) * np.cos(4 * y - 1.3 * channel)
        disc = np.hypot(x % 1 - 0.6, y % 1 - 0.4) < 0.25
        bars = ((x + 2 * y) * 4 % 1 < 0.5) & (y % 1 > 0.7)
        edges = np.where(disc, 0.35 * (1 - channel), 0) + np.where(bars, 0.2 * (channel - 1), 0)
        texture = 0.04 * np.sin(90 * x + 40 * y) * np.sin(70 * y - 30 * x)
        planes.append(shading + edges + texture)
    return np.stack(planes, axis=-1).clip(0, 1).astype(np.float32)
