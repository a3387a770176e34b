"""ncnn, on the CPU: networks in `.param` files with their `.bin` beside, one image at a time."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import SrkdError, UsageError
from srkd.runtimes import Settings
from srkd.runtimes.foreign import Form, Opened, adapt
from srkd.runtimes.ncnn_files import read_network
from srkd.runtimes.runner import FOREIGN_RADIUS, UNKNOWN_MEMORY, Run, Runner, check_cpu


def open_runner(model: Path, name: str, settings: Settings) -> Runner:
    """Opens a `.param` file for tiles. Raises as `open_ncnn` does."""
    check_cpu(settings, "ncnn")
    opened = open_ncnn(model, settings.threads)
    memory = opened.info.get("memory", UNKNOWN_MEMORY)
    return Runner(name, opened.scale, opened.radius, opened.run, opened.exact, memory, "ncnn, CPU")


def open_file(path: Path, threads: int | None = None) -> Run:
    """Opens a `.param` file that srkd exported, with the `.bin` beside it.

    Args:
        path: the file.
        threads: CPU threads; all cores when not given.

    Returns:
        A function from float32 `(1, 3, H, W)` in [0, 1] to `(1, 3, scale*H, scale*W)`.
    """
    network = read_network(path)
    return _load(path, network.source, network.result, threads)


def open_ncnn(path: Path, threads: int | None = None) -> Opened:
    """Opens a `.param` file, with the `.bin` beside it. One that this package did not export is tried out on
    a synthetic image, as ONNX files are.

    Raises:
        UsageError: ncnn is not installed, or the network does not enlarge RGB images.
        SrkdError: a file is damaged, or the two do not belong together.
    """
    network = read_network(path)
    if importlib.util.find_spec("ncnn") is None:
        raise UsageError(f"{path.name} is run by the package ncnn; pip install 'srkd[ncnn]'")
    run = _load(path, network.source, network.result, threads)
    header = _read_header(path)
    if header:
        return Opened(path.stem, header["scale"], header["radius"], run, header, header.get("exact", True))
    entry = next(layer for layer in network.layers if layer.kind == "Input")
    width, height = (int(entry.number(key)) or None for key in (0, 1))
    scale, adapted = adapt(path, Form(run, 3, height, width))
    return Opened(path.stem, scale, FOREIGN_RADIUS, adapted)


def _read_header(path: Path) -> dict[str, Any]:
    """What `srkd export` wrote beside a file; empty where there is nothing of the kind."""
    try:
        header = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = isinstance(header, dict) and isinstance(header.get("scale"), int)
    return header if known and isinstance(header.get("radius"), int) else {}


def _load(path: Path, source: str, result: str, threads: int | None) -> Run:
    import ncnn as library

    ncnn: Any = library
    net = ncnn.Net()
    # Computes in float32, as the other runtimes do; only what is stored may be half.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if threads is not None:
        net.opt.num_threads = threads
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise SrkdError(f"ncnn cannot open {path.name} with {path.with_suffix('.bin').name}")

    def run(batch: np.ndarray) -> np.ndarray:
        # Kept until the network has run: ncnn reads this memory without holding a reference to it.
        image = np.ascontiguousarray(batch[0], dtype=np.float32)
        with net.create_extractor() as extractor:
            extractor.input(source, ncnn.Mat(image))
            failed, found = extractor.extract(result)
            if failed:
                size = f"{batch.shape[3]}x{batch.shape[2]}"
                raise SrkdError(f"ncnn could not run {path.name} on an image of {size}")
            return np.array(found)[None]

    return run
