"""`srkd export`: a generator in the format of another program."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from srkd.arguments import check_whole
from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.terminal import Progress, reports, say
from srkd.weights.catalogue import find_weights, list_shipped


@reports
def export(
    weights: Sequence[StrPath] | StrPath,
    *,
    format: Literal["onnx", "safetensors", "pt2", "openvino", "ncnn", "litert", "coreml", "web"]
    | None = None,
    program: Literal["upscayl", "video2x", "vs-mlrt", "tensorrt", "opencv", "chainner"] | None = None,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    calibrate: StrPath | None = None,
    tune: int = 200,
    size: str | None = None,
    batch: int | None = None,
    names: str | None = None,
    opset: int | None = None,
    branch: int | None = None,
    license: str | None = None,
    runtime: StrPath | None = None,
    out: StrPath | None = None,
    verbose: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Export a generator, and check that the result computes the same.

    All formats except safetensors hold the fused network: batch norm folded, re-parameterised blocks merged.
    Each export is run in its own runtime on several sizes and compared with torch. If it differs, it is not
    written.

    Args:
        weights: a weights file or shipped name; of other packages those that run in torch (what spandrel
            loads, ncnn's Real-ESRGAN networks). Several for `web` alone, whose page lets its user choose.
        format: `onnx` (the default; dynamic batch, height and width), `safetensors` (training keys; spandrel
            and programs that use it load Compact, SPAN and what spandrel loaded), `pt2` (torch.export),
            `openvino` (.xml and .bin), `ncnn` (.param and .bin, with blobs `data` and `output`), `litert`
            (.tflite of one size, channels last, of operators that phones' GPUs run), `coreml` (.mlpackage of
            one size, for Apple's devices) or `web` (a folder with a page that upscales in the browser, by
            WebGPU or WASM, for any static web server; srkd demo shows it).
        program: the program that is to run it, instead of a format: sets format, names and shape as that
            program wants them, names the file so that it finds it, and says where to put it.
        precision: `fp32`; `fp16` for ONNX (its input and output stay float32), OpenVINO, ncnn, LiteRT and
            Core ML; `int8` for ONNX, OpenVINO and LiteRT, static and per channel, except the first and
            the last convolution and the few that int8 harms most, a quarter at most, which it names.
        calibrate: for int8, a folder of HR photographs whose LR images set the ranges. Without it, the
            photographs that scikit-image installs. They are degraded as the network's training was.
        tune: for int8, steps of fine-tuning towards the network's own fp32 images, where plain int8 loses
            more than 0.1 dB; some minutes of one core. 0 for none.
        size: width and height in LR pixels, as 320x180, of a graph that takes no other; for onnx,
            openvino, pt2, and litert and coreml, whose files always have one: 128x128 without it.
        batch: how many images a graph takes at once, and no other number; for onnx, openvino and pt2, and
            litert and coreml, 1 without it.
        names: of the graph's input and output, as input,output; for onnx, openvino, ncnn, litert and
            coreml. Without it, lr,sr, and ncnn data,output.
        opset: ONNX's operator set, 15 to 25. Without it, 18.
        branch: export one branch of a branched generator, counted from 0. Without it, the mean of all.
        license: the weights' licence, kept in the file. Without it, what their own file says.
        runtime: for web, ONNX Runtime Web: its archive (`npm pack onnxruntime-web`), or the folder of the
            unpacked package. Without it, it is downloaded once from npm's registry.
        out: the file to write, for web a new or empty folder. Without it, the weights' name with the format's
            suffix, beside the weights; in the current folder for shipped weights.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The file or folder written.

    Raises:
        UsageError: no such weights, weights that torch does not run, a format without this precision or whose
            package is not installed, an option that the format or program does not have, a program that
            cannot run this scale or would not find a file of this name, or an output that would replace the
            input or a file that does not belong to an earlier export.
        SrkdError: the format cannot hold the network, or the exported model computes something else.
    """
    several = [weights] if isinstance(weights, str | Path) else list(weights)
    graph = {"size": size, "batch": batch, "names": names, "opset": opset}
    if format == "web":
        given = {
            "for": program,
            "precision": precision != "fp32",
            "calibrate": calibrate,
            "branch": branch,
        }
        _check_unused(f"--format {format}", **given, **graph, license=license)
        return _export_web(several, out, runtime)
    if program is not None and format is not None:
        raise UsageError(f"--for {program} sets the format; leave out --format")
    chosen = _choose(format, program, precision, graph)
    _check_unused(chosen.asked, runtime=runtime)
    if len(several) != 1:
        raise UsageError(f"{chosen.asked} takes one network, not {len(several)}; call srkd export for each")
    if calibrate is not None and precision != "int8":
        raise UsageError("--calibrate needs --precision int8")
    check_whole("tune", tune, 0, 1_000_000)
    return _export_file(several[0], chosen, precision, calibrate, branch, license, out, tune, progress)


class _Choice(NamedTuple):
    """What to write: a format by name, its program or None, the shape of its graph; and what asked for it."""

    format: str
    program: Any
    shape: Any
    asked: str


def _choose(format: str | None, program: str | None, precision: Any, graph: dict[str, Any]) -> _Choice:
    """Looks a format or a program up, and the shape that its options ask for. Raises UsageError where it does
    not have this precision or an option, or where a package is missing."""
    from srkd.exports.formats import FORMATS
    from srkd.exports.programs import PROGRAMS
    from srkd.exports.request import read_shape

    entry = PROGRAMS[program] if program else None
    format = entry.format if entry else format or "onnx"
    kind = FORMATS[format]
    asked, title = (f"--for {program}", entry.title) if entry else (f"--format {format}", format)
    precisions, options = (entry or kind).precisions, (entry or kind).options
    if precision not in precisions:
        raise UsageError(f"{title} is exported as {' or '.join(precisions)}, not {precision}")
    _check_unused(asked, **{key: value for key, value in graph.items() if key not in options})
    shape = read_shape((entry or kind).shape, **graph)
    _check_packages(format, kind.packages)
    return _Choice(format, entry, shape, asked)


def _export_file(
    weights: StrPath,
    chosen: _Choice,
    precision: Any,
    calibrate: StrPath | None,
    branch: int | None,
    license: str | None,
    out: StrPath | None,
    steps: int,
    progress: Progress | None,
) -> Path:
    from srkd.exports.formats import FORMATS
    from srkd.exports.int8 import read_calibration
    from srkd.exports.programs import check_name, explain, name_file
    from srkd.exports.writing import write_checked
    from srkd.models.branched import BranchedGenerator
    from srkd.weights.store import load_generator

    source, kind, program = find_weights(weights), FORMATS[chosen.format], chosen.program
    ending = kind.suffix if precision == "fp32" else f".{precision}{kind.suffix}"
    # Not beside shipped weights, which may lie inside the installed package.
    folder = Path() if str(weights) in list_shipped() else source.parent
    target = Path(out) if out else folder / f"{source.stem}{ending}"
    _check_target(target, source, kind.suffix, kind.beside)
    model = load_generator(source)
    if program is not None:
        if not out:
            target = folder / f"{name_file(program, source.stem, precision, model.scale)}{kind.suffix}"
            _check_target(target, source, kind.suffix, kind.beside)
        check_name(program, target, model.scale)
    if branch is not None:
        if not isinstance(model, BranchedGenerator):
            raise UsageError(f"{source} has no branches to choose from")
        model = model.select_branch(branch)
    entry = list_shipped().get(str(weights), {})
    facts = {key: entry[key] for key in ("license", "scores") if key in entry}
    if license is not None:
        facts["license"] = license
    calibration = []
    if precision == "int8":
        calibration = read_calibration(calibrate, model.scale, model.info.get("degradation", "none"))
    rest = (chosen.shape, steps, progress)
    say(write_checked(model, target, chosen.format, precision, calibration, facts, *rest))
    if program is not None:
        say(explain(program, target, chosen.shape, model.scale, model.radius))
    if "source" in model.info or model.config is None:
        known = {"license": "unknown; --license TEXT keeps one in the file", **model.info, **facts}["license"]
        say(f"licence of {source.name}: {known}")
    return target


def _export_web(weights: Sequence[StrPath], out: StrPath | None, runtime: StrPath | None) -> Path:
    from srkd.exports.web import write_site

    if not weights:
        raise UsageError("name the weights to export")
    if out is None:
        raise UsageError("web is a folder; name it with --out")
    folder = Path(out)
    write_site(weights, folder, runtime)
    say(f"{folder}: a page with {len(weights)} network{'s' * (len(weights) > 1)}, for any static web server")
    return folder


def _check_unused(asked: str, **options: Any) -> None:
    """Raises UsageError for an option that is given, though what was asked for does not have it."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name} does not go with {asked}")


def _check_packages(format: str, packages: Sequence[str]) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"{format} needs the package {package}; pip install 'srkd[{format}]'")


def _check_target(target: Path, source: Path, suffix: str, beside: Sequence[str]) -> None:
    """Raises UsageError where an export must not be written. OpenVINO and ncnn both write a `.bin`, and each
    breaks with the other's, so a file that does not belong to an earlier export is not replaced."""
    if target.suffix != suffix:
        raise UsageError(f"{target} does not end in {suffix}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the file to export; give another --out")
    # A package of Core ML is a folder.
    if target.is_dir() and not (suffix == ".mlpackage" and (target / "Manifest.json").is_file()):
        raise UsageError(f"{target} is a folder; give the name of a file")
    for file in map(target.with_suffix, beside):
        if file.exists() and not target.exists():
            raise UsageError(f"{file} exists and does not belong to {target.name}; give another --out")
