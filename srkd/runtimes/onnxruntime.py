"""Any super-resolution network in an ONNX file, behind one interface. Imports no torch."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import SrkdError, UsageError, first_line
from srkd.runtimes import Settings
from srkd.runtimes.runner import FOREIGN_RADIUS, UNKNOWN_MEMORY, Run, Runner, check_cpu

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class OnnxModel:
    """A network that ONNX Runtime runs.

    Args:
        name: the file's stem.
        scale: its factor.
        radius: LR pixels around an output pixel that it depends on.
        run: maps float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.
        info: what this package wrote into the file about it; empty for files of other origin.
    """

    name: str
    scale: int
    radius: int
    run: Callable[[np.ndarray], np.ndarray]
    info: dict[str, Any] = field(default_factory=dict)


def open_file(path: Path) -> Run:
    """Opens an ONNX file that srkd exported.

    Returns:
        A function from float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(None, {"lr": batch})[0])


def open_onnx(path: Path, threads: int | None = None) -> OnnxModel:
    """Opens an ONNX file. One that this package did not export is tried out on a photograph: its scale, the
    multiple that its sizes must have (images are padded to it), and whether it counts from 0 to 1 or to 255.

    Raises:
        UsageError: the network does not enlarge RGB images, or takes only one size.
        SrkdError: the file is damaged.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
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
    entry = session.get_inputs()[0]
    kind = np.float16 if entry.type == "tensor(float16)" else np.float32

    def run(batch: np.ndarray) -> np.ndarray:
        found = session.run(None, {entry.name: batch.astype(kind, copy=False)})[0]
        return np.asarray(found, dtype=np.float32)

    header = json.loads(session.get_modelmeta().custom_metadata_map.get("srkd", "{}"))
    if "radius" in header:
        return OnnxModel(path.stem, header["config"]["scale"], header["radius"], run, header)
    if isinstance(entry.shape[2], int) or isinstance(entry.shape[3], int):
        raise UsageError(
            f"{path} takes only images of {entry.shape[3]}x{entry.shape[2]}; export it with dynamic sizes"
        )
    scale, multiple, white = _try_out(path, run)

    def run_any(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[2:]
        pad = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
        padded = np.pad(batch, pad, mode="edge") if multiple > 1 else batch
        return run(padded * white)[..., : height * scale, : width * scale] / white

    return OnnxModel(path.stem, scale, FOREIGN_RADIUS, run_any)


def _try_out(path: Path, run: Callable[[np.ndarray], np.ndarray]) -> tuple[int, int, float]:
    """A foreign network's scale, size multiple, and the value it takes for white."""
    from srkd.data import embedded_photos
    from srkd.images import resample
    from srkd.images.reading import read_image

    photo = read_image(embedded_photos(["astronaut.png"])[0])[:256, 128:384]
    image = resample.downscale(photo, 2).transpose(2, 0, 1)[None].astype(np.float32) / 255
    try:
        ratios = [a / b for a, b in zip(run(image).shape[2:], image.shape[2:], strict=True)]
    except Exception as error:  # as above
        raise UsageError(f"{path} does not run on RGB images: {first_line(error)}") from error
    scale = round(ratios[0])
    if ratios != [scale, scale] or scale < 1:
        raise UsageError(f"{path} makes no larger image of an image")
    enlarged = resample.upscale_bicubic(image[0].transpose(1, 2, 0), scale).transpose(2, 0, 1)
    errors = {w: float(np.square(run(image * w)[0] / w - enlarged).mean()) for w in (1.0, 255.0)}
    # The first that gives 20 dB: a network that is nearly linear does well in either range.
    white = next((w for w, error in errors.items() if error < 0.01), None)
    if white is None:
        raise UsageError(
            f"{path} gives something else than an enlarged image, whether white is 1 or 255; is it a "
            "super-resolution network of RGB images?"
        )
    for multiple in _MULTIPLES:
        # Odd multiples on both sides, so that twice the multiple would not fit.
        height, width = 3 * multiple, 5 * multiple
        grow = -(-16 // height) | 1
        part = image[:, :, : height * grow, : width * grow]
        try:
            if run(part).shape[2:] == (part.shape[2] * scale, part.shape[3] * scale):
                return scale, multiple, white
        except Exception:
            continue
    raise UsageError(f"{path} takes no size that is a multiple of {_MULTIPLES[-1]} or less")


def open_runner(model: Path, name: str, settings: Settings) -> Runner:
    """Opens an ONNX file for tiles. Raises as `open_onnx` does."""
    check_cpu(settings, "ONNX Runtime")
    opened = open_onnx(model, settings.threads)
    memory = opened.info.get("memory", UNKNOWN_MEMORY)
    exact = "radius" in opened.info
    return Runner(name, opened.scale, opened.radius, opened.run, exact, memory, "ONNX Runtime, CPU")
