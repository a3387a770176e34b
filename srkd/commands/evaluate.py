"""`srkd evaluate`: scores of models on benchmarks, under a named protocol.

Imports torch only where a model or LPIPS needs it.
"""

import json as json_format
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from srkd.arguments import check_device
from srkd.commands.evaluating.scoring import Measures, Model, score_images, summarise
from srkd.commands.evaluating.words import (
    Words,
    check_options,
    name_apart,
    open_runners,
    sort_words,
    split_variants,
)
from srkd.data import Pair
from srkd.data.benchmarks import Benchmark, Results, find_results, open_set
from srkd.files import StrPath, write_text
from srkd.metrics import protocol_name
from srkd.metrics.named import Metric, describe, find_metric
from srkd.remote import localised
from srkd.reports.scores import image_table, list_partial, mean_table, to_csv, to_latex
from srkd.runtimes import Device
from srkd.runtimes.runner import Runner
from srkd.terminal import Progress, note, reports, say, show
from srkd.terminal import progress as progress_of
from srkd.upscaling.opening import BICUBIC, best_device


@reports
def evaluate(
    model: Sequence[StrPath] | StrPath | None = None,
    data: Sequence[StrPath] | StrPath | None = None,
    *,
    lr: StrPath | None = None,
    sr: Sequence[StrPath] | StrPath | None = None,
    protocol: str = "y-crop",
    lpips: str = "st-lpips-alex",
    metrics: str | None = None,
    scale: int | None = None,
    json: StrPath | None = None,
    csv: StrPath | None = None,
    latex: StrPath | None = None,
    device: Device = "auto",
    dry_run: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score models on benchmarks: PSNR, SSIM, LPIPS and others.

    One model on one benchmark gives the scores of each image; several give one table of means with what the
    models cost. Without --data, the last word is the benchmark.

    Args:
        model: weights files (of this package, ONNX, or any that spandrel loads), shipped names, `bicubic`, or
            folders of SR images, as `sr`.
        data: folders of HR images, in subfolders too (LR is made by MATLAB's bicubic), or with HR and LR
            inside (as DIV2K, BasicSR, RealSR and others have them); sets packed by `srkd prepare`, for their
            validation images; `embedded` for the held-out photographs that scikit-image installs; or URLs of
            folders of images, such as s3://bucket/Set5/.
        lr: the folder of LR images, when it does not lie inside `data`, or is one of several.
        sr: folders of SR images of any program, named as the HR images are, with something behind the name
            that is the same for all (`baby_x4.png`). Several benchmarks have a folder each inside.
        protocol: `y-crop` (luma, the papers' tables) or `rgb-crop`; the scale may follow, as in `y-crop4`.
        lpips: the LPIPS variant, `st-lpips-alex` or `st-lpips-vgg` (offline), `lpips-alex` or `lpips-vgg`
            (download their trunks), several separated by commas, or `none`.
        metrics: others, separated by commas: `niqe` (without HR), `halo`, `flat-noise`, `lattice`, `tint` and
            `tint-largest` (artefacts that LPIPS hardly sees), `text` (errors of a reader of text), or
            `pyiqa:NAME` for one of the package pyiqa. Some apply to some images only; the output says to how
            many.
        scale: the factor of `bicubic` and of SR images; that of the networks beside them, or 4, when not
            given. Networks know their own.
        json: the file to write the scores to.
        csv: a file for the means, with a line for each model and benchmark.
        latex: a file for the table of means, for LaTeX's booktabs.
        device: where torch runs, for the models and for LPIPS: `cpu`, `mps`, `cuda`, `cuda:1`; `auto` is a
            GPU where there is one.
        dry_run: list the pairs of images, and score nothing.
        verbose: print the scores.
        progress: called as progress(description, done, total) while it works.

    Returns:
        `{protocol, scale, model, mean: {psnr, ssim, <lpips variant>}, images: [{name, psnr, ...}]}`. PSNR is
        in dB; that of equal images is infinite, in the JSON file null. With `metrics`, their scores are among
        these by name, None where an image has nothing to measure, and `measured` maps each name to the number
        of images that its mean is over. Of several models or benchmarks
        `{protocol, scale, results}`, each result as above with `data`, `parameters`, `macs` (multiply-
        accumulates for a 1280x720 output) and `time` (over that of the first network on the same images and
        runtime), None where they are not known. With `dry_run`, `{pairs: {benchmark: [{hr, lr, sr}]}}`.

    Raises:
        UsageError: no such model, data or protocol, or images that do not fit.
        SrkdError: an image cannot be read; a score on part of a benchmark would not be its score.
    """
    words = sort_words(model, data, sr)
    files = {"json": json, "csv": csv, "latex": latex}
    check_options(words, files, lr, protocol, lpips, scale)
    check_device(device)
    folders = [*words.data, *words.folders, *([lr] if lr is not None else [])]
    with localised(folders) as (places, _):
        count, named = len(words.data), len(words.data) + len(words.folders)
        words = words._replace(data=places[:count], folders=places[count:named])
        lr = places[named] if lr is not None else None
        return _evaluate(words, lr, protocol, lpips, metrics, scale, files, device, dry_run)


def _evaluate(
    words: Words,
    lr: StrPath | None,
    protocol: str,
    lpips: str,
    metrics: str | None,
    scale: int | None,
    files: Mapping[str, StrPath | None],
    device: Device,
    dry_run: bool,
) -> dict[str, Any]:
    """`evaluate`, of local places."""
    chosen = split_variants(metrics) if metrics is not None else []
    further = [find_metric(name, _place(device, name.startswith("pyiqa:"))) for name in dict.fromkeys(chosen)]
    runners = open_runners(words.weights, device, scale)
    factor = next((runner.scale for runner in runners), scale or 4)
    full = protocol_name(protocol, factor)
    sets = [open_set(place, factor, lr, only_hr=not runners) for place in words.data]
    sets = [replace(one, name=name) for one, name in zip(sets, name_apart(sets, words.data), strict=True)]
    models: list[list[Model]] = [
        [*runners, *(find_results(folder, one, factor) for folder in words.folders)] for one in sets
    ]
    if dry_run:
        return {"pairs": {one.name: _list_pairs(one, row) for one, row in zip(sets, models, strict=True)}}
    names = name_apart(models[0], [*words.weights, *words.folders])
    _load_lpips(lpips)
    measures = Measures(full, lpips, further, _place(device, split_variants(lpips) != ["none"]))
    results = _score_sets(models, names, sets, measures)
    costs = (
        [_count_cost(word) for word in words.weights]
        if len(results) > 1 or files["csv"] or files["latex"]
        else []
    )
    for name, cost in zip(names, costs, strict=False):
        results = [{**result, **cost} if result["model"] == name else result for result in results]
    return _report(results, files, further)


def _place(device: Device, used: bool) -> str:
    """Where torch runs; looked for only where it is used."""
    return best_device() if device == "auto" and used else device


def _report(
    results: list[dict[str, Any]], files: Mapping[str, StrPath | None], further: Sequence[Metric]
) -> dict[str, Any]:
    """Shows and writes the results, and returns what `evaluate` does."""
    first = results[0]
    reference = next((result["model"] for result in results if result["time"] is not None), None)
    if len(results) == 1:
        keys = ("protocol", "scale", "model", "measured", "mean", "images")
        result = {key: first[key] for key in keys if key in first}
        show(image_table(first), asked=True)
    else:
        result = {"protocol": first["protocol"], "scale": first["scale"], "results": results}
        show(mean_table(results, reference), asked=True)
    for metric in further:
        say(describe(metric))
    for line in list_partial(results):
        note(line)
    better = [metric.name for metric in further if not metric.lower_is_better]
    write = {
        "json": lambda: json_format.dumps(_finite(result), indent=2) + "\n",
        "csv": lambda: to_csv(results),
        "latex": lambda: to_latex(results, reference, better),
    }
    for kind, file in files.items():
        if file is not None:
            write_text(file, write[kind]())
    return result


def _list_pairs(benchmark: Benchmark, models: Sequence[Model]) -> list[dict[str, Any]]:
    """Prints the pairs of a benchmark, and returns them."""
    pairs: list[dict[str, Any]] = [
        {"hr": str(hr), "lr": None if lr is None else str(lr)} for hr, lr in benchmark.files
    ] or [{"hr": name, "lr": name} for name in benchmark.names]
    results = [model for model in models if isinstance(model, Results)]
    for pair, name in zip(pairs, benchmark.names, strict=True):
        if results:
            pair["sr"] = [str(model.files[name]) for model in results]
        if len(results) == len(models):
            pair.pop("lr")
        parts = [pair["lr"] or "bicubic"] if "lr" in pair else []
        say(f"{pair['hr']} <- {', '.join([*parts, *pair.get('sr', [])])}")
    return pairs


def _load_lpips(lpips: str) -> None:
    """Loads the networks before anything is scored.

    Raises:
        SrkdError: one is not installed and cannot be downloaded.
    """
    for variant in split_variants(lpips):
        if variant != "none":
            from srkd.metrics.perceptual import load_lpips

            load_lpips(variant)


def _count_cost(weights: StrPath) -> dict[str, int | None]:
    """Parameters, and multiply-accumulates for a 1280x720 output; None where they cannot be counted."""
    if str(weights) == BICUBIC:
        return {"parameters": None, "macs": None}
    from srkd.weights.cost import count_cost

    return count_cost(weights)._asdict()


def _score_sets(
    models: Sequence[Sequence[Model]],
    names: Sequence[str],
    sets: Sequence[Benchmark],
    measures: Measures,
) -> list[dict[str, Any]]:
    """The results of all models on all sets, in the order of the models."""
    results, seconds = [], []
    with progress_of("evaluating", sum(len(one.names) for one in sets) * len(names)) as advance:
        for row, one in zip(models, sets, strict=True):
            scores, times = score_images(row, one.read(), measures, advance)
            seconds += times
            results += [
                {**summarise(model, images, measures), "model": name, "data": one.name}
                for model, name, images in zip(row, names, scores, strict=True)
            ]
    ratios = _compare_times(models[0], np.array(seconds))
    facts = dict(zip(names, ratios, strict=True))
    results = [{**x, "parameters": None, "macs": None, "time": facts[x["model"]]} for x in results]
    return [x for name in names for x in results if x["model"] == name]


def _compare_times(models: Sequence[Model], seconds: np.ndarray) -> list[float | None]:
    """For each model the median over images `(images, models)` of its time over that of the first network;
    None for what the same runtime does not run, and where there is nothing to compare."""
    runtimes = [x.runtime if isinstance(x, Runner) and x.run is not None else None for x in models]
    first = next((k for k, runtime in enumerate(runtimes) if runtime is not None), None)
    if first is None or runtimes.count(runtimes[first]) < 2:
        return [None] * len(models)
    ratios = np.median(seconds / seconds[:, first : first + 1], axis=0)
    return [float(x) if kind == runtimes[first] else None for x, kind in zip(ratios, runtimes, strict=True)]


def open_benchmark(data: StrPath, scale: int) -> tuple[int, Iterable[Pair]]:
    """The images of a benchmark in the forms that `evaluate` takes: how many, and each as it is read."""
    benchmark = open_set(data, scale)
    return len(benchmark.names), benchmark.read()


def _finite(value: Any) -> Any:
    """The same with None for infinite numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
