"""From weights to a runner: the runtime that suits them, and the conversion that it needs."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import get_args

from platformdirs import user_cache_path

from srkd import __version__
from srkd.errors import UsageError, choose
from srkd.files import StrPath, check_path, hash_file
from srkd.runtimes import RUNTIMES, Backend, Device, Precision, Settings
from srkd.runtimes.runner import Runner
from srkd.terminal import say
from srkd.upscaling.limits import check_options
from srkd.weights.catalogue import find_onnx, find_weights, list_shipped, read_header

# Not weights but a resampler, which takes their place.
BICUBIC = "bicubic"


def open_runner(
    weights: StrPath,
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
    for kind, value, choices in (("backend", backend, Backend), ("device", device, Device)):
        choose(kind, value, get_args(choices))
    choose("precision", precision, get_args(Precision))
    if str(weights) == BICUBIC:
        # Two neighbours on either side; a few float64 images of the result.
        return Runner(BICUBIC, scale, 3, None, memory=100.0 * scale**2, runtime="NumPy")
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


def open_fastest(
    weights: StrPath | None,
    scale: float | None = None,
    *,
    backend: Backend = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Runner:
    """Like `open_runner`, on the backend that is fastest where none is named, with the default weights where
    none are. The result's scale is that of the weights, of bicubic the whole number nearest to `scale`."""
    weights = weights or default_weights()
    check_path("weights", weights)
    check_options(scale=scale, threads=threads)
    return open_runner(
        weights,
        device,
        max(1, round(scale or 4)),
        backend=prefer(weights, device) if backend == "auto" else backend,
        threads=threads,
        precision=precision,
    )


def default_weights() -> str:
    """The shipped weights that upscale where none are named.

    Raises:
        UsageError: there are none.
    """
    for name, entry in list_shipped().items():
        if entry.get("default"):
            return name
    raise UsageError("no default weights are installed; give --weights FILE (srkd quickstart makes some)")


def prefer(weights: StrPath, device: Device) -> Backend:
    """The backend that runs these weights fastest: torch on a GPU, and for what torch alone runs; otherwise
    ONNX Runtime, which starts and runs faster on a CPU."""
    if str(weights) == BICUBIC:
        return "auto"
    path = find_weights(weights)
    if path.suffix == ".onnx":
        return "onnxruntime"
    if device in ("cuda", "mps") or (device == "auto" and _may_have_gpu() and best_device() != "cpu"):
        return "torch"
    if find_onnx(weights) or (path.suffix == ".safetensors" and read_header(path)):
        return "onnxruntime"
    return "torch"


def convert(path: Path) -> Path:
    """The ONNX file of weights of this package, written at first use and kept in the user's cache.

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
        say(f"converting {path.name} to ONNX, once -> {target}")
        from srkd.exports.writing import write_onnx
        from srkd.weights.store import load_generator

        write_onnx(load_generator(path), target)
    return target


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes a second or two, to look for a GPU."""
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def best_device() -> Device:
    """CUDA or MPS where there is one, else the CPU. Imports torch."""
    from srkd.runtimes import torch

    return torch.best_device()
