"""Weights to something that enlarges: the runtime that suits them, and the conversion it needs."""

import importlib
import shutil
import sys
from pathlib import Path

from platformdirs import user_cache_path

from srkd import __version__
from srkd.errors import UsageError
from srkd.files import hash_file
from srkd.runtimes import RUNTIMES, Backend, Device, Precision, Settings
from srkd.runtimes.runner import Runner
from srkd.terminal import console
from srkd.weights.catalogue import find_onnx, find_weights, read_header


def open_runner(
    weights: str | Path,
    device: Device = "auto",
    scale: int = 4,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
) -> Runner:
    """Opens weights for inference.

    Args:
        weights: `bicubic`; an ONNX file; any other weights that `load_generator` takes.
        device: where torch runs; `auto` takes CUDA or MPS when there. Other backends run on the CPU.
        scale: of bicubic, which has none of its own.
        backend: what runs it; `auto` is ONNX Runtime for ONNX files and torch for others. ONNX Runtime and
            OpenVINO run weights of this package too, converted once.
        threads: CPU threads; all cores when not given.
        precision: of torch; `auto` is fp16 on CUDA and fp32 elsewhere. Where half precision gives something
            that is not a number, fp32 takes over.

    Raises:
        UsageError: no such file or name, no such device, a backend that is not installed or does not run
            these weights, or an ONNX file that does not enlarge RGB images.
        SrkdError: the file is damaged.
    """
    if str(weights) == "bicubic":
        # Two neighbours on either side; a few float64 images of the result.
        return Runner("bicubic", scale, 3, None, memory=100.0 * scale**2, runtime="SciPy")
    path = find_weights(weights)
    if backend == "auto":
        backend = "onnxruntime" if path.suffix == ".onnx" else "torch"
    runtime = RUNTIMES[backend]
    if runtime.takes == "onnx":
        model = find_onnx(weights) or convert(path)
    elif path.suffix == ".onnx":
        raise UsageError(f"{path} is an ONNX file, which torch does not run; use --backend onnxruntime")
    else:
        from srkd.weights.store import load_generator

        model = load_generator(path)
    opener = importlib.import_module(runtime.module)
    return opener.open_runner(model, path.stem, Settings(device, threads, precision))


def prefer(weights: str | Path, device: Device) -> Backend:
    """The backend that upscales these weights best: torch on a GPU, and for what only torch runs; else ONNX
    Runtime, which starts and runs faster on a CPU."""
    path = find_weights(weights)
    if path.suffix == ".onnx":
        return "onnxruntime"
    if device in ("cuda", "mps") or (device == "auto" and _may_have_gpu() and _best_device() != "cpu"):
        return "torch"
    if find_onnx(weights) or (path.suffix == ".safetensors" and read_header(path)):
        return "onnxruntime"
    return "torch"


def convert(path: Path) -> Path:
    """The ONNX file of weights of this package, made at first use and kept in the user's cache.

    Raises:
        UsageError: weights of another package.
        SrkdError: the file is damaged, or the cache cannot be written.
    """
    if path.suffix == ".onnx":
        return path
    if path.suffix != ".safetensors" or not read_header(path):
        raise UsageError(f"{path} was not written by srkd; use --backend torch")
    target = user_cache_path("srkd") / "onnx" / f"{path.stem}-{hash_file(path, 16)}-{__version__}.onnx"
    if not target.is_file():
        console.print(f"converting {path.name} to ONNX, once -> {target}", markup=False)
        from srkd.exports.writing import write_onnx
        from srkd.weights.store import load_generator

        write_onnx(load_generator(path), target)
    return target


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes a second or two, to look for a GPU."""
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def _best_device() -> Device:
    from srkd.runtimes.torch import best_device

    return best_device()
