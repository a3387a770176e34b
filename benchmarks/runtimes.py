"""Networks at x4 under ONNX Runtime, torch and ncnn, and bicubic in Pillow, behind one interface."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import srkd
from srkd.errors import SrkdError, UsageError
from srkd.upscaling.opening import open_runner

SCALE = 4
# The SRGAN paper's generator, for its speed alone.
TEACHER = "srgan_teacher"
RANDOM_TEACHER = f"{TEACHER}, random weights"

# Maps float32 `(1, 3, H, W)` in [0, 1], or `(H, W, 3)` uint8, to an enlarged array of the same kind.
Enlarge = Callable[[np.ndarray], np.ndarray]


def random_image(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def to_batch(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)


def on_pixels(run: Enlarge) -> Enlarge:
    """Wraps a function of float batches as a function of 8-bit images."""

    def enlarge(image: np.ndarray) -> np.ndarray:
        result = run(to_batch(image))[0].transpose(1, 2, 0)
        return np.rint(result.clip(0, 1) * 255).astype(np.uint8)

    return enlarge


def enlarge_bicubic(image: np.ndarray) -> np.ndarray:
    size = (image.shape[1] * SCALE, image.shape[0] * SCALE)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def open_session(model: Path | bytes, threads: int) -> Any:
    """A bare ONNX Runtime session on the CPU."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def open_onnx(path: Path, threads: int) -> Enlarge:
    """An ONNX file as srkd runs it."""
    run = open_runner(path, backend="onnxruntime", threads=threads).run
    assert run is not None  # only bicubic has none
    return run


def open_torch(path: Path, threads: int) -> Enlarge:
    """Any network that srkd loads, such as those of spandrel."""
    import torch

    torch.set_num_threads(threads)
    model = srkd.load_generator(path)
    if model.scale != SCALE:
        raise UsageError(f"{path} is x{model.scale}; the benchmark needs x{SCALE}")

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch)).numpy()

    return run


def open_ncnn(path: Path, threads: int) -> Enlarge:
    """A network with blobs `data` and `output`; ncnn's default options except the threads."""
    try:
        import ncnn as library
    except ImportError as error:
        raise UsageError("--ncnn_models needs the package ncnn; pip install 'srkd[ncnn]'") from error
    ncnn: Any = library
    net = ncnn.Net()
    net.opt.num_threads = threads
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise SrkdError(f"ncnn cannot load {path} and the .bin file beside it")

    def run(batch: np.ndarray) -> np.ndarray:
        # ncnn reads this memory without owning it, so keep a reference until the network has run.
        image = np.ascontiguousarray(batch[0])
        with net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(image))
            failed, output = extractor.extract("output")
            if failed:
                raise SrkdError(f"ncnn cannot run {path} on {image.shape[2]}x{image.shape[1]} pixels")
            return np.array(output)[None]

    return run


def export_teacher(folder: Path) -> Path:
    """The SRGAN paper's generator as an ONNX file. Its speed does not depend on its weights."""
    import torch

    torch.manual_seed(0)
    weights = srkd.save_generator(srkd.create_generator(TEACHER), folder / f"{TEACHER}.safetensors")
    return srkd.export(str(weights), format="onnx")


def architecture(model: Any, name: str) -> str:
    """A key that is equal for networks of the same architecture, which have the same cost; `name` for foreign
    networks."""
    return json.dumps(model.config) if hasattr(model, "config") else name
