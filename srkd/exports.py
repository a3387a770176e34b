"""Trained generators in the formats of other programs, each run in its own runtime before it counts."""

import json
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from srkd.catalog import find_weights, list_shipped
from srkd.errors import SrkdError, UsageError
from srkd.files import console, publish

OPSET = 18
Precision = Literal["fp32", "fp16", "int8"]
# Largest difference to torch, in image units of [0, 1]: a tenth of an 8-bit level; of half precision four
# levels, since its networks count in steps of a quarter of a level near white, and errors add up.
BOUNDS = {"fp32": 0.1 / 255, "fp16": 4 / 255}
# What int8 may cost on photographs, in dB of PSNR to HR; its largest differences say little.
INT8_LOSS = 0.3

Run = Callable[[np.ndarray], np.ndarray]


class _Request(NamedTuple):
    """What is exported: a generator and its fused copy; facts about it; how precise, calibrated on what."""

    model: Any
    fused: Any
    header: dict[str, Any]
    precision: Precision
    calibration: Sequence[np.ndarray]


class _Format(NamedTuple):
    """A file format: its suffix and that of the file beside it; how it is written; how its runtime runs it;
    the precisions it has; the package it needs; and the smallest side that it takes."""

    suffix: str
    beside: tuple[str, ...]
    write: Callable[[_Request, Path], None]
    open: Callable[[Path], Run]
    precisions: tuple[Precision, ...]
    packages: tuple[str, ...] = ()
    smallest: int = 1


def export(
    weights: str,
    *,
    format: Literal["onnx", "safetensors", "pt2", "openvino", "ncnn"] = "onnx",
    precision: Precision = "fp32",
    calibrate: str | None = None,
    branch: int | None = None,
    out: str | None = None,
) -> Path:
    """Export a trained generator, and check that the result computes the same.

    All formats but safetensors hold the fused network: batch norm folded, re-parameterised blocks merged.
    Each is run in its own runtime on several sizes and compared with torch; what differs is not written.

    Args:
        weights: a weights file of this package, or a shipped name.
        format: `onnx` (dynamic batch, height and width), `safetensors` (training keys; spandrel and its
            programs load Compact and SPAN), `pt2` (torch.export), `openvino` (.xml and .bin) or `ncnn`
            (.param and .bin, with blobs `data` and `output`).
        precision: `fp32`; `fp16` for ONNX (its input and output stay float32), OpenVINO and ncnn; `int8` for
            ONNX, static and per channel.
        calibrate: for int8, a folder of images like those to be upscaled; shrunk photographs that
            scikit-image installs when not given.
        branch: of a generator of several branches, the one to export alone, from 0; their mean when not
            given.
        out: the file to write; beside the weights, with the format's suffix, when not given.

    Returns:
        The file written.

    Raises:
        UsageError: no such weights, weights of another package, a format that has no such precision or
            whose package is not installed, or an output that is its own input.
        SrkdError: the exported model computes something else.
    """
    from srkd.weights import load_generator

    source, kind = find_weights(weights), FORMATS[format]
    if precision not in kind.precisions:
        raise UsageError(f"{format} is exported as {' or '.join(kind.precisions)}, not {precision}")
    if calibrate is not None and precision != "int8":
        raise UsageError("--calibrate goes with --precision int8")
    _need(format, kind.packages)
    ending = kind.suffix if precision == "fp32" else f".{precision}{kind.suffix}"
    target = Path(out) if out else source.with_name(source.stem + ending)
    if target.suffix != kind.suffix:
        raise UsageError(f"{target} does not end in {kind.suffix}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the file to export; give another --out")
    model: Any = load_generator(source)
    if not hasattr(model, "config"):
        raise UsageError(f"{source} holds weights of another package; export takes those of srkd")
    if branch is not None:
        if not hasattr(model, "select_branch"):
            raise UsageError(f"{source} has no branches to choose from")
        info = model.info
        model = model.select_branch(branch).eval()
        model.info = info
    shipped = list_shipped().get(str(weights), {})
    calibration = _calibration(calibrate, model.scale) if precision == "int8" else []
    _write(
        model, target, format, precision, calibration, {k: shipped[k] for k in ("scores",) if k in shipped}
    )
    return target


def write_onnx(model: Any, target: Path) -> None:
    """Writes a generator of this package to an ONNX file, fused and checked, in float32.

    Raises:
        SrkdError: it computes something else, or the file cannot be written.
    """
    _write(model, target, "onnx", "fp32", [], {}, quiet=True)


def _write(
    model: Any,
    target: Path,
    format: str,
    precision: Precision,
    calibration: Sequence[np.ndarray],
    facts: dict[str, Any],
    quiet: bool = False,
) -> None:
    from srkd.models.cost import count_memory
    from srkd.models.fusing import fuse

    kind, fused = FORMATS[format], fuse(model)
    header = {"config": model.config, "radius": model.radius, "scale": model.scale, "precision": precision}
    header |= {"memory": count_memory(fused), "license": "Apache-2.0", **model.info, **facts}
    if format in ("onnx", "openvino"):
        header["opset"] = OPSET
    request = _Request(model, fused, header, precision, calibration)
    with publish(target, kind.beside) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        kind.write(request, draft)
        run = kind.open(draft)
        maximum, mean = _compare(model, run, BOUNDS.get(precision, np.inf), kind.smallest)
        lines = [f"difference to torch at most {maximum:.2g}, {mean:.2g} on average"]
        if precision != "fp32":
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder) / target.name
                kind.write(request._replace(precision="fp32"), plain)
                lines.append(_weigh(run, kind.open(plain), model.scale, precision))
    if not quiet:
        said = f"{format}, opset {OPSET}" if format == "onnx" else format
        console.print(f"{target}: {said}, {precision}, {'; '.join(lines)}", markup=False)


def _compare(model: Any, run: Run, bound: float, smallest: int) -> tuple[float, float]:
    """Greatest and mean absolute difference between torch and the exported file on several sizes."""
    import torch

    rng = np.random.default_rng(0)
    differences = []
    for height, width in ((24, 32), (37, 23), (64, 61), (smallest, 5)):
        batch = rng.random((1, 3, height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(batch)).numpy()
        found = run(batch)
        if found.shape != expected.shape:
            raise SrkdError(
                f"the export makes {found.shape} of {batch.shape}, not {expected.shape}; nothing was written"
            )
        differences.append(np.abs(found - expected).ravel())
    every = np.concatenate(differences)
    if not every.max() <= bound:
        raise SrkdError(
            f"the export differs from torch by {every.max():.2g}, more than {bound:.2g}; nothing was written"
        )
    return float(every.max()), float(every.mean())


def _weigh(run: Run, plain: Run, scale: int, precision: str) -> str:
    """What a precision costs and gains beside fp32, on photographs that training has not seen."""
    from srkd import metrics
    from srkd.data import EMBEDDED_TEST, embedded_photos, read_pair

    protocol = metrics.protocol_name("y-crop", scale)
    networks = {"own": run, "plain": plain}
    scores: dict[str, list[float]] = {"own": [], "plain": []}
    times: list[float] = []
    for path in embedded_photos(EMBEDDED_TEST):
        pair = read_pair(path, None, scale)
        batch = pair.lr.transpose(2, 0, 1)[None].astype(np.float32) / 255
        images, seconds = {}, {}
        # Of two turns the second counts, which no longer prepares anything.
        for key in ("own", "plain", "own", "plain"):
            start = perf_counter()
            images[key] = networks[key](batch)[0].transpose(1, 2, 0)
            seconds[key] = perf_counter() - start
        times.append(seconds["own"] / seconds["plain"])
        for key, image in images.items():
            sr = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
            scores[key].append(metrics.psnr(sr, pair.hr, protocol))
    own, full = (float(np.mean(scores[key])) for key in ("own", "plain"))
    if precision == "int8" and not own >= full - INT8_LOSS:
        raise SrkdError(
            f"int8 loses {full - own:.2f} dB on {len(times)} photographs, more than {INT8_LOSS} dB; "
            "nothing was written; calibrate on images like yours with --calibrate, or use fp16"
        )
    return (
        f"{own:.2f} dB on {len(times)} photographs where fp32 has {full:.2f}, "
        f"in {np.median(times):.2f} times its time"
    )


def _calibration(folder: str | None, scale: int) -> list[np.ndarray]:
    """Images that set int8's ranges, `(1, 3, H, W)` in [0, 1]; a corner of each."""
    from srkd import resample
    from srkd.data import EMBEDDED_TRAIN, embedded_photos
    from srkd.images import list_images, read_image

    if folder is not None:
        paths = list_images(folder, recursive=True)
        images = [read_image(path) for path in paths[:: max(1, len(paths) // 32)]]
    else:
        paths = embedded_photos(EMBEDDED_TRAIN)
        images = [resample.downscale(read_image(path), scale) for path in paths]
    console.print(f"calibrating on {len(images)} images of {folder or 'scikit-image'}", markup=False)
    return [image[:192, :192].transpose(2, 0, 1)[None].astype(np.float32) / 255 for image in images]


def _need(format: str, packages: Sequence[str]) -> None:
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise UsageError(f"{format} needs the package {package}; pip install 'srkd[{format}]'")


# The formats. Each is written from the fused network, and run in float32 by its own runtime on one image.


def _write_onnx(request: _Request, path: Path) -> None:
    import onnx

    proto = _to_onnx(request.fused)
    if request.precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        proto = convert_float_to_float16(proto, keep_io_types=True)
    elif request.precision == "int8":
        proto = _quantize(proto, request.calibration)
    header = {**request.header, "precision": request.precision}
    onnx.helper.set_model_props(proto, {"srkd": json.dumps(header, sort_keys=True)})
    path.write_bytes(proto.SerializeToString())


def _to_onnx(fused: Any) -> Any:
    import torch

    axes = {0: "batch", 2: "height", 3: "width"}
    program = torch.onnx.export(
        fused,
        (torch.rand(2, 3, 24, 32),),
        input_names=["lr"],
        output_names=["sr"],
        dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    for value, prefix in ((proto.graph.input[0], ""), (proto.graph.output[0], "sr_")):
        for axis, name in axes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = prefix + name
    return proto


def _quantize(proto: Any, images: Sequence[np.ndarray]) -> Any:
    """Static int8 between the first and the last convolution, which see and make pixels."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> Any:
            image = next(self.images, None)
            return None if image is None else {"lr": image}

    convolutions = [node.name for node in proto.graph.node if node.op_type == "Conv"]
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(proto.SerializeToString())
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv", "PRelu", "Add"],
            nodes_to_exclude=[convolutions[0], convolutions[-1]],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(None, {"lr": batch})[0])


def _write_safetensors(request: _Request, path: Path) -> None:
    from srkd.weights import save_generator

    info = {key: value for key, value in request.model.info.items() if key not in ("format", "kind")}
    save_generator(request.model, path, **info)


def _open_safetensors(path: Path) -> Run:
    import torch

    from srkd.weights import load_generator

    model = load_generator(path)

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch)).numpy()

    return run


def _write_pt2(request: _Request, path: Path) -> None:
    import torch

    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(request.fused, (torch.rand(2, 3, 24, 32),), dynamic_shapes=(dynamic,))
    torch.export.save(program, path, extra_files={"srkd.json": json.dumps(request.header, sort_keys=True)})


def _open_pt2(path: Path) -> Run:
    import torch

    model: Any = torch.export.load(path).module()

    @torch.inference_mode()
    def run(batch: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(batch)).numpy()

    return run


def _write_openvino(request: _Request, path: Path) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(_to_onnx(request.fused).SerializeToString())
        model = openvino.convert_model(source)
    header = {**request.header, "precision": request.precision}
    model.set_rt_info(json.dumps(header, sort_keys=True), "srkd")
    openvino.save_model(model, path, compress_to_fp16=request.precision == "fp16")


def _open_openvino(path: Path) -> Run:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    return lambda batch: np.array(model(batch)[0])


def _write_ncnn(request: _Request, path: Path) -> None:
    """By pnnx, from a traced network; with the names of blobs that Upscayl and realesrgan-ncnn-vulkan use."""
    import pnnx
    import torch

    binary = path.with_suffix(".bin")
    with tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "model.pt"
        torch.jit.trace(request.fused, torch.rand(1, 3, 24, 32)).save(str(traced))  # type: ignore[no-untyped-call]
        made = Path(folder) / "model.ncnn.param"
        command = [pnnx.EXEC_PATH, str(traced), "inputshape=[1,3,24,32]", "inputshape2=[1,3,38,20]"]
        command.append(f"fp16={int(request.precision == 'fp16')}")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode or not made.is_file():
            raise SrkdError(f"pnnx could not convert the network: {done.stderr.strip().splitlines()[-1:]}")
        lines = made.read_text(encoding="ascii").splitlines()
        foreign = {line.split()[0] for line in lines[2:] if "." in line.split()[0] or "::" in line.split()[0]}
        if foreign:
            raise SrkdError(f"ncnn has no layer for {', '.join(sorted(foreign))}; nothing was written")
        names = {"in0": "data", "out0": "output"}
        renamed = [" ".join(names.get(word, word) for word in line.split()) for line in lines]
        path.write_text("\n".join(renamed) + "\n", encoding="ascii")
        binary.write_bytes(made.with_suffix(".bin").read_bytes())
    header = {**request.header, "precision": request.precision}
    path.with_suffix(".json").write_text(
        json.dumps(header, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def _open_ncnn(path: Path) -> Run:
    import ncnn as library

    ncnn: Any = library
    net = ncnn.Net()
    # Arithmetic in float32, as of the other runtimes; only what is stored may be half.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def run(batch: np.ndarray) -> np.ndarray:
        # Held until the network has run: ncnn reads this memory and keeps no hold of it.
        image = np.ascontiguousarray(batch[0])
        with net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(image))
            _, found = extractor.extract("output")
            return np.array(found)[None]

    return run


FORMATS = {
    "onnx": _Format(".onnx", (), _write_onnx, _open_onnx, ("fp32", "fp16", "int8")),
    "safetensors": _Format(".safetensors", (), _write_safetensors, _open_safetensors, ("fp32",)),
    # torch.export takes sides of one pixel for a case of their own.
    "pt2": _Format(".pt2", (), _write_pt2, _open_pt2, ("fp32",), smallest=2),
    "openvino": _Format(".xml", (".bin",), _write_openvino, _open_openvino, ("fp32", "fp16"), ("openvino",)),
    "ncnn": _Format(".param", (".bin", ".json"), _write_ncnn, _open_ncnn, ("fp32", "fp16"), ("ncnn", "pnnx")),
}
