"""The runtimes that a generator may run on. Imports none of them until it is asked for."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from platformdirs import user_cache_path
from rich.table import Table

from srkd import __version__
from srkd.catalog import find_onnx, find_weights, read_header
from srkd.errors import UsageError
from srkd.files import console, file_hash
from srkd.onnx_models import FOREIGN_RADIUS, open_onnx
from srkd.tiling import UNKNOWN_MEMORY, Upscaler

Device = Literal["auto", "cpu", "cuda", "mps"]
Backend = Literal["auto", "onnxruntime", "torch", "openvino"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]


class Request(NamedTuple):
    """How a network is to be run: device, CPU threads (all when None) and precision of torch."""

    device: Device = "auto"
    threads: int | None = None
    precision: Precision = "auto"


def open_upscaler(
    weights: str | Path,
    device: Device = "auto",
    scale: int = 4,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
) -> Upscaler:
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
        return Upscaler("bicubic", scale, 3, None, memory=100.0 * scale**2, runtime="SciPy")
    path = find_weights(weights)
    if backend == "auto":
        backend = "onnxruntime" if path.suffix == ".onnx" else "torch"
    return BACKENDS[backend].open(path, find_onnx(weights), Request(device, threads, precision))


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


def list_backends() -> list[dict[str, str]]:
    """Prints and returns the backends: `name`, `version` (empty where it is not installed), `runs`."""
    rows = []
    table = Table("backend", "version", "runs")
    for name, backend in BACKENDS.items():
        try:
            found = version(backend.package)
        except PackageNotFoundError:
            found = ""
        rows.append({"name": name, "version": found, "runs": backend.runs})
        table.add_row(name, found or f"not installed; pip install 'srkd[{name}]'", backend.runs)
    console.print(table)
    return rows


def _open_onnxruntime(path: Path, onnx: Path | None, request: Request) -> Upscaler:
    _need_cpu(request, "ONNX Runtime")
    file = onnx or convert(path)
    model = open_onnx(file, request.threads)
    memory = model.info.get("memory", UNKNOWN_MEMORY)
    exact = "radius" in model.info
    return Upscaler(path.stem, model.scale, model.radius, model.run, exact, memory, "ONNX Runtime, CPU")


def _open_openvino(path: Path, onnx: Path | None, request: Request) -> Upscaler:
    _need_cpu(request, "OpenVINO")
    if importlib.util.find_spec("openvino") is None:
        raise UsageError("the openvino backend is not installed; pip install 'srkd[openvino]'")
    import openvino

    file = onnx or convert(path)
    header = _onnx_header(file)
    if "radius" not in header:
        raise UsageError(f"{file} was not exported by srkd; use --backend onnxruntime")
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if request.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = request.threads
    compiled = openvino.Core().compile_model(file, "CPU", settings)

    def run(batch: np.ndarray) -> np.ndarray:
        return np.array(compiled(batch)[0])

    memory = header.get("memory", UNKNOWN_MEMORY)
    scale = header["config"]["scale"]
    return Upscaler(path.stem, scale, header["radius"], run, True, memory, "OpenVINO, CPU")


def _open_torch(path: Path, onnx: Path | None, request: Request) -> Upscaler:
    if path.suffix == ".onnx":
        raise UsageError(f"{path} is an ONNX file, which torch does not run; use --backend onnxruntime")
    import torch

    from srkd.models.cost import count_memory
    from srkd.models.fusing import fuse
    from srkd.weights import load_generator

    model: Any = load_generator(path)
    ours = hasattr(model, "config")
    model = fuse(model) if ours else model
    memory = count_memory(model) if ours else UNKNOWN_MEMORY
    device = _best_device() if request.device == "auto" else request.device
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    try:
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"cannot run on {device}: {_first_line(error)}") from error
    kind = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}.get(request.precision)
    if request.precision == "auto" and device == "cuda":
        kind = torch.float16
    half = [kind]

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(batch).to(device)
        if half[0] is not None:
            with torch.autocast(device, half[0]):
                found = model(images).float()
            if torch.isfinite(found).all():
                return found.cpu().numpy()
            console.print(f"{path.stem}: {half[0]} overflows, going on in fp32", markup=False)
            half[0] = None
        return model(images).float().cpu().numpy()

    radius = getattr(model, "radius", FOREIGN_RADIUS)
    return Upscaler(path.stem, model.scale, radius, run, ours, memory, f"torch, {device}")


class _Entry(NamedTuple):
    open: Callable[[Path, Path | None, Request], Upscaler]
    package: str
    runs: str


BACKENDS = {
    "onnxruntime": _Entry(
        _open_onnxruntime, "onnxruntime", "ONNX files; srkd's weights, converted once; CPU"
    ),
    "torch": _Entry(_open_torch, "torch", "srkd's weights and what spandrel loads; CUDA, MPS, CPU"),
    "openvino": _Entry(_open_openvino, "openvino", "srkd's ONNX files and weights, converted once; CPU"),
}


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
    target = user_cache_path("srkd") / "onnx" / f"{path.stem}-{file_hash(path)}-{__version__}.onnx"
    if not target.is_file():
        console.print(f"converting {path.name} to ONNX, once -> {target}", markup=False)
        from srkd.exports import write_onnx
        from srkd.weights import load_generator

        write_onnx(load_generator(path), target)
    return target


def _onnx_header(path: Path) -> dict[str, Any]:
    import onnx

    for item in onnx.load(path).metadata_props:
        if item.key == "srkd":
            return json.loads(item.value)
    return {}


def _need_cpu(request: Request, name: str) -> None:
    if request.device not in ("auto", "cpu"):
        raise UsageError(f"{name} runs on the CPU here; for {request.device} use --backend torch")
    if request.precision not in ("auto", "fp32"):
        raise UsageError(f"--precision is torch's; for {name}, export a file of that precision (srkd export)")


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes a second or two, to look for a GPU."""
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()


def _best_device() -> Device:
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
