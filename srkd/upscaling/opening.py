"""From weights to a runner: the runtime that suits them, and the conversion that it needs."""

import atexit
import importlib
import importlib.util
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args

from platformdirs import user_cache_path

from srkd import __version__
from srkd.arguments import check_device
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import StrPath, check_path, check_writable, hash_file
from srkd.runtimes import RUNTIMES, Backend, Device, Precision, Settings
from srkd.runtimes.runner import Runner
from srkd.terminal import note, say
from srkd.upscaling.limits import check_options
from srkd.upscaling.sharpness import blend_onnx, find_pair
from srkd.weights.catalogue import find_onnx, find_weights, is_own, kind_of, list_shipped

# Not weights but a resampler, which takes their place.
BICUBIC = "bicubic"
# What shipped weights are for, as `for` in weights/index.json says it.
Purpose = Literal["clean", "sharp", "photo"]


def open_runner(
    weights: StrPath,
    device: Device = "auto",
    scale: int = 4,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
    sharpness: float | None = None,
) -> Runner:
    """Opens weights for inference.

    Args:
        weights: `bicubic`, or what `load_generator` takes.
        device: where torch runs: `cpu`, `mps`, `cuda`, `cuda:N`; `auto` takes CUDA or MPS when there. Other
            backends run on the CPU.
        scale: of bicubic, which has none of its own.
        backend: what runs it; `auto` is ONNX Runtime for ONNX files, ncnn for ncnn files that torch cannot
            run, and torch for others. ONNX Runtime and OpenVINO run the others too, converted once.
        threads: CPU threads; all cores when not given.
        precision: of torch; `auto` is fp16 on CUDA and fp32 elsewhere. Where half precision gives something
            that is not a number, fp32 takes over.
        sharpness: between the faithful and the sharp weights of the shipped pair that `weights` is one of,
            from 0 to 1.

    Raises:
        UsageError: no such file or name, no such device, a backend that is not installed or does not run
            these weights, an ONNX file that does not enlarge RGB images, or sharpness of weights without a
            pair.
        SrkdError: the file is damaged.
    """
    check_device(device)
    choose("backend", backend, get_args(Backend))
    choose("precision", precision, get_args(Precision))
    pair = None if sharpness is None else find_pair(weights)
    if str(weights) == BICUBIC:
        # Two neighbours on either side; a few float64 images of the result.
        return Runner(BICUBIC, scale, 3, None, memory=100.0 * scale**2, runtime="NumPy")
    path = find_weights(weights)
    kind = kind_of(path)
    backend = _choose_backend(path, kind) if backend == "auto" else backend
    runtime = RUNTIMES[backend]
    settings = Settings(device, threads, precision)
    opener = importlib.import_module(runtime.module)
    if pair is not None and sharpness is not None:
        return _open_between(opener, runtime.takes == "onnx", pair, sharpness, settings)
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
    return opener.open_runner(model, path.stem, settings)


def _open_between(
    opener: Any, onnx: bool, pair: tuple[str, str], sharpness: float, settings: Settings
) -> Runner:
    """Opens a shipped pair's weights interpolated."""
    name = f"{pair[0].rpartition('_')[0]} of sharpness {sharpness:g}"
    if not onnx:
        from srkd.weights.store import blend, load_generator

        near, far = map(load_generator, pair)
        blend(near, far, sharpness)
        return opener.open_runner(far, name, settings)
    near, far = (find_onnx(weights) or convert(find_weights(weights)) for weights in pair)
    # Runtimes read the file as they open it.
    with tempfile.TemporaryDirectory(prefix="srkd-", ignore_cleanup_errors=True) as folder:
        model = Path(folder) / "between.onnx"
        model.write_bytes(blend_onnx(near, far, sharpness))
        return opener.open_runner(model, name, settings)


class RunnerOptions(TypedDict, total=False):
    """How a network is run, where the weights do not decide it.

    Args:
        backend: `onnxruntime`, `torch`, `openvino` or `ncnn`; `auto` is torch on a GPU and ONNX Runtime on a
            CPU.
        device: where torch runs: `cpu`, `mps`, `cuda`, `cuda:N`.
        precision: of torch: `fp32`, `fp16`, `bf16`; `auto` is fp16 on CUDA.
        threads: CPU threads; all cores when not given.
        sharpness: from 0, the faithful weights of a shipped pair, to 1, the sharp ones.
    """

    backend: Backend
    device: Device
    precision: Precision
    threads: int | None
    sharpness: float | None


def open_fastest(
    weights: StrPath | None, scale: float | None = None, **options: Unpack[RunnerOptions]
) -> Runner:
    """Like `open_runner`, on the backend that is fastest where none is named, with the default weights where
    none are. The result's scale is that of the weights, of bicubic the whole number nearest to `scale`."""
    weights = weights or default_weights()
    check_path("weights", weights)
    check_options(scale=scale, threads=options.get("threads"), sharpness=options.get("sharpness"))
    if options.get("backend", "auto") == "auto":
        options["backend"] = prefer(weights, options.get("device", "auto"))
    return open_runner(weights, scale=max(1, round(scale or 4)), **options)


def default_weights(purpose: Purpose | None = None) -> str:
    """The shipped weights that upscale where none are named: those for a purpose, or for any.

    Raises:
        UsageError: there are none.
    """
    for name, entry in list_shipped().items():
        if entry.get("default") if purpose is None else entry.get("for") == purpose:
            return name
    which = "default weights" if purpose is None else f"weights for '{purpose}'"
    raise UsageError(f"no {which} are installed; give --weights FILE (srkd quickstart makes some)")


def prefer(weights: StrPath, device: Device) -> Backend:
    """The backend that runs these weights fastest: torch on a GPU, and for what torch alone runs; otherwise
    ONNX Runtime, which starts and runs faster on a CPU."""
    if str(weights) == BICUBIC:
        return "auto"
    path = find_weights(weights)
    kind = kind_of(path)
    if kind in ("onnx", "ncnn"):
        return _choose_backend(path, kind)
    if device.startswith(("cuda", "mps")) or (
        device == "auto" and _may_have_gpu() and best_device() != "cpu"
    ):
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
    """The ONNX file of weights of this package, written at first use and kept in the user's cache; where that
    cannot be written, in a temporary folder until the process ends.

    Raises:
        UsageError: weights that cannot be exported.
        SrkdError: the file is damaged, or there is no place to write to at all.
    """
    if kind_of(path) == "onnx":
        return path
    name = f"{path.stem[:64]}-{hash_file(path, 16)}-{__version__}.onnx"
    target = user_cache_path("srkd") / "onnx" / name
    try:
        if target.is_file():
            return target
        check_writable(target)
    except (SrkdError, OSError) as error:
        note(f"{error}; converting {path.name} to ONNX for this time alone", "warning")
        target = _temporary_folder() / name
    if not target.is_file():
        from srkd.exports.writing import write_onnx
        from srkd.weights.store import load_generator

        model = load_generator(path)
        say(f"converting {path.name} to ONNX, once -> {target}")
        write_onnx(model, target)
    return target


@cache
def _temporary_folder() -> Path:
    """A folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="srkd-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes a second or two, to look for a GPU."""
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def best_device() -> Device:
    """CUDA or MPS where there is one, else the CPU. Imports torch."""
    from srkd.runtimes import torch

    return torch.best_device()
