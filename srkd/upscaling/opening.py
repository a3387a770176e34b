"""From weights to a runner: the runtime that suits them, and the conversion that it needs."""

import atexit
import importlib
import importlib.util
import shutil
import sys
import tempfile
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
from srkd.weights.catalogue import find_onnx, find_weights, is_own, kind_of, list_shipped

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
        weights: `bicubic`, or what `load_generator` takes.
        device: where torch runs; `auto` takes CUDA or MPS when there. Other backends run on the CPU.
        scale: of bicubic, which has none of its own.
        backend: what runs it; `auto` is ONNX Runtime for ONNX files, ncnn for ncnn files that torch cannot
            run, and torch for others. ONNX Runtime and OpenVINO run the others too, converted once.
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
    kind = kind_of(path)
    backend = _choose_backend(path, kind) if backend == "auto" else backend
    runtime = RUNTIMES[backend]
    if runtime.takes == "onnx":
        model = find_onnx(weights) or convert(path)
    elif runtime.takes == "param":
        if kind != "ncnn":
            raise UsageError(f"{path} is not an ncnn file (.param); use another --backend, or srkd export")
        model = path
    elif kind == "onnx":
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
    kind = kind_of(path)
    if kind in ("onnx", "ncnn"):
        return _choose_backend(path, kind)
    if device in ("cuda", "mps") or (device == "auto" and _may_have_gpu() and best_device() != "cpu"):
        return "torch"
    return "onnxruntime" if find_onnx(weights) or is_own(path) else "torch"


def _choose_backend(path: Path, kind: str) -> Backend:
    """The backend that runs a file of that kind without converting it to another format."""
    if kind == "onnx":
        return "onnxruntime"
    if kind == "ncnn":
        if importlib.util.find_spec("torch") is None:
            return "ncnn"
        from srkd.weights.ncnn import is_convertible

        return "torch" if is_convertible(path) else "ncnn"
    return "torch"


def convert(path: Path) -> Path:
    """The ONNX file of other weights, written at first use and kept in the user's cache; where nothing can be
    written there, in a temporary folder until the program ends.

    Raises:
        UsageError: weights that cannot be exported.
        SrkdError: the file is damaged, or it cannot be written.
    """
    if kind_of(path) == "onnx":
        return path
    name = f"{path.stem}-{hash_file(path, 16)}-{__version__}.onnx"
    target = user_cache_path("srkd") / "onnx" / name
    if not target.is_file():
        from srkd.exports.writing import write_onnx
        from srkd.weights.store import load_generator

        model = load_generator(path)
        if _may_write(target.parent):
            say(f"converting {path.name} to ONNX, once -> {target}")
        else:
            target = Path(tempfile.mkdtemp(prefix="srkd-")) / name
            atexit.register(shutil.rmtree, target.parent, ignore_errors=True)
            say(f"converting {path.name} to ONNX, for now: the cache cannot be written")
        write_onnx(model, target)
    return target


def _may_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes a second or two, to look for a GPU."""
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def best_device() -> Device:
    """CUDA or MPS where there is one, else the CPU. Imports torch."""
    from srkd.runtimes import torch

    return torch.best_device()
