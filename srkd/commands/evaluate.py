"""`srkd evaluate`: a model's scores on a benchmark, under a named protocol.

Imports torch only where the model or LPIPS needs it.
"""

import json as json_format
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from srkd import metrics
from srkd.data import EMBEDDED_TEST, Pair, embedded_photos, find_pairs, read_pair
from srkd.data.packed import is_packed, open_packed
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import StrPath, check_path, describe_type, describe_value, write_text
from srkd.runtimes.runner import Runner
from srkd.terminal import Progress, reports, show, track
from srkd.upscaling.opening import Device, best_device, open_runner


@reports
def evaluate(
    model: StrPath,
    data: StrPath,
    *,
    protocol: str = "y-crop",
    lpips: str = "st-lpips-alex",
    json: StrPath | None = None,
    scale: int = 4,
    device: Device = "auto",
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a model on a benchmark: PSNR, SSIM and LPIPS, per image and on average.

    Args:
        model: a weights file (of this package, ONNX, or any that spandrel loads), a shipped name, or
            `bicubic`.
        data: a folder of HR images (LR is made by MATLAB's bicubic) or with HR and LR inside; one packed by
            `srkd prepare`, for its validation images; `embedded` for the held-out photographs that
            scikit-image installs.
        protocol: `y-crop` (luma, the papers' tables) or `rgb-crop`; the scale may follow, as in `y-crop4`.
        lpips: the LPIPS variant, `st-lpips-alex` or `st-lpips-vgg` (offline), `lpips-alex` or `lpips-vgg`
            (download their trunks), several separated by commas, or `none`.
        json: the file to write the scores to.
        scale: the factor of `bicubic`; models know their own.
        device: where torch runs, for the model and for LPIPS; `auto` is a GPU where there is one.
        verbose: print the scores.
        progress: called as progress(description, done, total) while it works.

    Returns:
        `{protocol, scale, model, mean: {psnr, ssim, <lpips variant>}, images: [{name, psnr, ...}]}`. PSNR is
        in dB; that of equal images is infinite, in the JSON file null.

    Raises:
        UsageError: no such model, data or protocol, or images that do not fit.
        SrkdError: an image cannot be read; a score on part of a benchmark would not be its score.
    """
    for name, value in (("model", model), ("data", data), *((("json", json),) if json is not None else ())):
        check_path(name, value)
    for name, text in (("protocol", protocol), ("lpips", lpips)):
        if not isinstance(text, str):
            raise UsageError(f"{name} must be a text, not {describe_type(text)}")
    if isinstance(scale, bool) or not isinstance(scale, int) or not 1 <= scale <= 64:
        raise UsageError(f"scale must be a whole number from 1 to 64, not {describe_value(scale)}")
    if json is not None and Path(json).is_dir():
        raise UsageError(f"--json {json} is a folder; give a file")
    variants = split_variants(lpips)
    for variant in variants:
        choose("LPIPS variant", variant, (*metrics.LPIPS_VARIANTS, "none"))
    upscaler = open_runner(model, device, scale)
    metrics.protocol_name(protocol, upscaler.scale)
    count, pairs = open_benchmark(data, upscaler.scale)
    place = device if device != "auto" or variants == ["none"] else best_device()
    result = score(upscaler, track(pairs, "evaluating", count), protocol, lpips, place)
    show(_table(result))
    if json is not None:
        write_text(json, json_format.dumps(_finite(result), indent=2) + "\n")
    return result


def open_benchmark(data: StrPath, scale: int) -> tuple[int, Iterable[Pair]]:
    """The images of a benchmark in the forms that `evaluate` takes: how many, and each as it is read."""
    if is_packed(data):
        _, held = open_packed(Path(data), scale)
        return len(held), held
    embedded = str(data) == "embedded"
    files = [(p, None) for p in embedded_photos(EMBEDDED_TEST)] if embedded else find_pairs(data, scale)
    return len(files), (read_pair(*paths, scale) for paths in files)


def score(
    upscaler: Runner,
    pairs: Iterable[Pair],
    protocol: str,
    lpips: str = "st-lpips-alex",
    device: str = "cpu",
) -> dict[str, Any]:
    """Scores an upscaler on pairs of LR and HR, as `evaluate` returns them; `device` is where LPIPS runs."""
    full = metrics.protocol_name(protocol, upscaler.scale)
    images = []
    for pair in pairs:
        try:
            images.append({"name": pair.name, **score_image(upscaler(pair.lr), pair, full, lpips, device)})
        except SrkdError as error:
            raise type(error)(f"{pair.name}: {error}") from error
    if not images:
        raise UsageError("there are no images to score")
    names = [key for key in images[0] if key != "name"]
    mean = {key: float(np.mean([image[key] for image in images])) for key in names}
    return {"protocol": full, "scale": upscaler.scale, "model": upscaler.name, "mean": mean, "images": images}


def score_image(
    sr: np.ndarray, pair: Pair, protocol: str, lpips: str, device: str = "cpu"
) -> dict[str, float]:
    """The scores of one image `(H, W, 3)` uint8, by name."""
    scores = {"psnr": metrics.psnr(sr, pair.hr, protocol), "ssim": metrics.ssim(sr, pair.hr, protocol)}
    for variant in split_variants(lpips):
        if variant != "none":
            # Packed images are mapped read-only, and torch wants to be able to write.
            from srkd.metrics.perceptual import lpips as distance

            scores[variant] = distance(sr, np.require(pair.hr, requirements="W"), variant, device)
    return scores


def split_variants(lpips: str) -> list[str]:
    """The names in a text of names separated by commas."""
    return [name.strip() for name in lpips.split(",")]


def _table(result: dict[str, Any]) -> Table:
    # Names are escaped: in brackets there would be markup.
    table = Table(title=escape(f"{result['model']} x{result['scale']}, {result['protocol']}"))
    names = list(result["mean"])
    for column in ("image", *names):
        table.add_column(column, justify="left" if column == "image" else "right")
    rows = [*result["images"], {"name": "mean", **result["mean"]}]
    for row in rows:
        if row["name"] == "mean":
            table.add_section()
        table.add_row(
            escape(row["name"]), *(f"{row[key]:.2f}" if key == "psnr" else f"{row[key]:.4f}" for key in names)
        )
    return table


def _finite(value: Any) -> Any:
    """The same with None for infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
