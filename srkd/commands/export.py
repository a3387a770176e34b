"""`srkd export`: a generator in the format of another program."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from srkd.errors import UsageError
from srkd.files import StrPath
from srkd.terminal import Progress, reports, say
from srkd.weights.catalogue import find_weights, list_shipped


@reports
def export(
    weights: Sequence[StrPath] | StrPath,
    *,
    format: Literal["onnx", "safetensors", "pt2", "openvino", "ncnn", "web"] = "onnx",
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    calibrate: StrPath | None = None,
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
        format: `onnx` (dynamic batch, height and width), `safetensors` (training keys; spandrel and programs
            that use it load Compact, SPAN and what spandrel loaded), `pt2` (torch.export), `openvino` (.xml
            and .bin), `ncnn` (.param and .bin, with blobs `data` and `output`) or `web` (a folder with a page
            that upscales in the browser, by WebGPU or WASM, for any static web server; srkd demo shows it).
        precision: `fp32`; `fp16` for ONNX (its input and output stay float32), OpenVINO and ncnn; `int8` for
            ONNX, static and per channel.
        calibrate: for int8, a folder of HR photographs whose LR images set the ranges. Without it, the
            photographs that scikit-image installs.
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
            package is not installed, an option that the format does not have, or an output that would replace
            the input or a file that does not belong to an earlier export.
        SrkdError: the format cannot hold the network, or the exported model computes something else.
    """
    several = [weights] if isinstance(weights, str | Path) else list(weights)
    if format == "web":
        given = {"precision": precision != "fp32", "calibrate": calibrate, "branch": branch}
        _check_unused(format, **given, license=license)
        return _export_web(several, out, runtime)
    _check_unused(format, runtime=runtime)
    if len(several) != 1:
        raise UsageError(f"{format} takes one network, not {len(several)}; call srkd export for each")
    (weights,) = several
    from srkd.exports.formats import FORMATS
    from srkd.exports.int8 import read_calibration
    from srkd.exports.writing import write_checked
    from srkd.models.branched import BranchedGenerator
    from srkd.weights.store import load_generator

    source, kind = find_weights(weights), FORMATS[format]
    if precision not in kind.precisions:
        raise UsageError(f"{format} is exported as {' or '.join(kind.precisions)}, not {precision}")
    if calibrate is not None and precision != "int8":
        raise UsageError("--calibrate needs --precision int8")
    _check_packages(format, kind.packages)
    ending = kind.suffix if precision == "fp32" else f".{precision}{kind.suffix}"
    # Not beside shipped weights, which may lie inside the installed package.
    folder = Path() if str(weights) in list_shipped() else source.parent
    target = Path(out) if out else folder / f"{source.stem}{ending}"
    _check_target(target, source, kind.suffix, kind.beside)
    model = load_generator(source)
    if branch is not None:
        if not isinstance(model, BranchedGenerator):
            raise UsageError(f"{source} has no branches to choose from")
        model = model.select_branch(branch)
    entry = list_shipped().get(str(weights), {})
    facts = {key: entry[key] for key in ("license", "scores") if key in entry}
    if license is not None:
        facts["license"] = license
    calibration = read_calibration(calibrate, model.scale) if precision == "int8" else []
    say(write_checked(model, target, format, precision, calibration, facts))
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


def _check_unused(format: str, **options: Any) -> None:
    """Raises UsageError for an option that is given, though the format does not have it."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise UsageError(f"--{name} does not go with --format {format}")


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
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file")
    for file in map(target.with_suffix, beside):
        if file.exists() and not target.exists():
            raise UsageError(f"{file} exists and does not belong to {target.name}; give another --out")
