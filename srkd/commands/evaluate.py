"""Scores of a model on a data set, under a named protocol. Imports no torch until a model needs it."""

import json as json_format
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from srkd import metrics
from srkd.data import EMBEDDED_TEST, Pair, embedded_photos, find_pairs, read_pair
from srkd.data.packed import is_packed, open_packed
from srkd.errors import SrkdError, UsageError, choose
from srkd.files import write_text
from srkd.runtimes.runner import Runner
from srkd.terminal import console, track
from srkd.upscaling.opening import Device, open_runner


def evaluate(
    model: str,
    data: str,
    *,
    protocol: str = "y-crop",
    lpips: str = "st-lpips-alex",
    json: str | None = None,
    scale: int = 4,
    device: Device = "auto",
) -> dict[str, Any]:
    """Score a model on a benchmark: PSNR, SSIM and LPIPS, per image and mean.

    Args:
        model: a weights file (of this package, ONNX, or any that spandrel loads), a shipped name, or
            `bicubic`.
        data: folder of HR images (LR is made by MATLAB's bicubic) or with HR and LR inside; packed by
            `srkd prepare`, for its validation images; `embedded` for the held-out photographs that
            scikit-image installs.
        protocol: `y-crop` (luma, the papers' tables) or `rgb-crop`; the scale may follow, as in `y-crop4`.
        lpips: LPIPS variant, `st-lpips-alex` or `st-lpips-vgg` (offline), `lpips-alex` or `lpips-vgg`
            (download their trunks), several with commas between, or `none`.
        json: file for the scores.
        scale: the factor of `bicubic`; models know their own.
        device: where torch weights run.

    Returns:
        `{protocol, scale, model, mean: {psnr, ssim, <lpips variant>}, images: [{name, psnr, ...}]}`; a PSNR
        of equal images is infinite, in the JSON file null.

    Raises:
        UsageError: no such model, data or protocol, or images that do not fit.
        SrkdError: an image cannot be read; a score of part of a benchmark would not be its score.
    """
    upscaler = open_runner(model, device, scale)
    metrics.protocol_name(protocol, upscaler.scale)
    for variant in split_variants(lpips):
        choose("LPIPS variant", variant, (*metrics.LPIPS_VARIANTS, "none"))
    count, pairs = open_benchmark(data, upscaler.scale)
    if json is not None and Path(json).is_dir():
        raise UsageError(f"--json {json} is a folder; give a file")
    result = score(upscaler, track(pairs, "evaluating", count), protocol, lpips)
    console.print(_table(result))
    if json is not None:
        write_text(json, json_format.dumps(_finite(result), indent=2) + "\n")
    return result


def open_benchmark(data: str, scale: int) -> tuple[int, Iterable[Pair]]:
    """The images of a benchmark in the forms that `evaluate` takes: how many, and each as it is read."""
    if is_packed(data):
        _, held = open_packed(Path(data), scale)
        return len(held), held
    embedded = data == "embedded"
    files = [(p, None) for p in embedded_photos(EMBEDDED_TEST)] if embedded else find_pairs(data, scale)
    return len(files), (read_pair(*paths, scale) for paths in files)


def score(
    upscaler: Runner, pairs: Iterable[Pair], protocol: str, lpips: str = "st-lpips-alex"
) -> dict[str, Any]:
    """Scores an upscaler on pairs of LR and HR, as `evaluate` returns them."""
    full = metrics.protocol_name(protocol, upscaler.scale)
    images = []
    for pair in pairs:
        try:
            images.append({"name": pair.name, **score_image(upscaler(pair.lr), pair, full, lpips)})
        except SrkdError as error:
            raise type(error)(f"{pair.name}: {error}") from error
    names = [key for key in images[0] if key != "name"]
    mean = {key: float(np.mean([image[key] for image in images])) for key in names}
    return {"protocol": full, "scale": upscaler.scale, "model": upscaler.name, "mean": mean, "images": images}


def score_image(sr: np.ndarray, pair: Pair, protocol: str, lpips: str) -> dict[str, float]:
    """The scores of one image by name."""
    scores = {"psnr": metrics.psnr(sr, pair.hr, protocol), "ssim": metrics.ssim(sr, pair.hr, protocol)}
    for variant in split_variants(lpips):
        if variant != "none":
            # Packed images are mapped read-only, and torch wants to be able to write.
            from srkd.metrics.perceptual import lpips as distance

            scores[variant] = distance(sr, np.require(pair.hr, requirements="W"), variant)
    return scores


def split_variants(lpips: str) -> list[str]:
    """The names in a text of names with commas between."""
    return [name.strip() for name in lpips.split(",")]


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"{result['model']} x{result['scale']}, {result['protocol']}")
    names = list(result["mean"])
    for column in ("image", *names):
        table.add_column(column, justify="left" if column == "image" else "right")
    rows = [*result["images"], {"name": "mean", **result["mean"]}]
    for row in rows:
        if row["name"] == "mean":
            table.add_section()
        table.add_row(
            row["name"], *(f"{row[key]:.2f}" if key == "psnr" else f"{row[key]:.4f}" for key in names)
        )
    return table


def _finite(value: Any) -> Any:
    """Infinite numbers as None, since JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
