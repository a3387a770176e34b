"""Scores of models on pairs of images."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srkd import metrics
from srkd.commands.evaluating.words import split_variants
from srkd.data import Pair
from srkd.data.benchmarks import Results
from srkd.errors import SrkdError, UsageError
from srkd.metrics.named import Metric, average
from srkd.runtimes.runner import Runner

# What gives an SR image for a pair: a network, or SR images that are there already.
Model = Runner | Results


@dataclass(frozen=True)
class Measures:
    """What is measured.

    Args:
        protocol: of PSNR and SSIM, with its scale.
        lpips: LPIPS variants, separated by commas, or `none`.
        metrics: further ones.
        device: where LPIPS runs.
    """

    protocol: str
    lpips: str
    metrics: Sequence[Metric] = ()
    device: str = "cpu"


def score_images(
    models: Sequence[Model],
    pairs: Iterable[Pair],
    measures: Measures,
    advance: Callable[[float], None] = lambda images: None,
) -> tuple[list[list[dict[str, Any]]], list[list[float]]]:
    """The scores of each model on each image, and for each image the seconds that each model took."""
    scores: list[list[dict[str, Any]]] = [[] for _ in models]
    seconds: list[list[float]] = []
    for pair in pairs:
        seconds.append([])
        for model, found in zip(models, scores, strict=True):
            try:
                if len(seconds) == 1 and len(models) > 1 and isinstance(model, Runner):
                    model(pair.lr)  # the first run prepares what later ones use
                start = time.perf_counter()
                sr = model(pair.lr) if isinstance(model, Runner) else model(pair)
                seconds[-1].append(time.perf_counter() - start)
                further = _measure(model, sr, pair, measures.metrics)
                found.append({"name": pair.name, **score_image(sr, pair, measures), **further})
            except SrkdError as error:
                raise type(error)(f"{pair.name}: {error}") from error
            advance(1)
    if not seconds:
        raise UsageError("there are no images to score")
    return scores, seconds


def score_image(sr: np.ndarray, pair: Pair, measures: Measures) -> dict[str, float]:
    """PSNR, SSIM and LPIPS of one image `(H, W, 3)` uint8, by name."""
    protocol = measures.protocol
    scores = {"psnr": metrics.psnr(sr, pair.hr, protocol), "ssim": metrics.ssim(sr, pair.hr, protocol)}
    for variant in split_variants(measures.lpips):
        if variant != "none":
            # Packed images are mapped read-only, and torch wants to be able to write.
            from srkd.metrics.perceptual import lpips as distance

            scores[variant] = distance(sr, np.require(pair.hr, requirements="W"), variant, measures.device)
    return scores


def _measure(model: Model, sr: np.ndarray, pair: Pair, chosen: Sequence[Metric]) -> dict[str, float | None]:
    """The further metrics of one image, by name; None where it has nothing to measure."""
    images: dict[Any, tuple[np.ndarray, np.ndarray] | None] = {None: (sr, pair.hr)}
    scores: dict[str, float | None] = {}
    for metric in chosen:
        if metric.prepare not in images:
            images[metric.prepare] = _enlarge_prepared(model, sr, pair, metric.prepare)
        both = images[metric.prepare]
        try:
            scores[metric.name] = None if both is None else metric.measure(*both, model.scale)
        except SrkdError as error:
            raise type(error)(f"{metric.name}: {error}") from error
    return scores


def _enlarge_prepared(
    model: Model, sr: np.ndarray, pair: Pair, prepare: Any
) -> tuple[np.ndarray, np.ndarray] | None:
    """SR and HR of a pair that is prepared for a metric. None for SR images that are there already, unless
    their pair is as it should be."""
    hr = prepare(pair.hr)
    if isinstance(model, Runner):
        return model(prepare(pair.lr)), hr
    return (sr, hr) if np.array_equal(hr, pair.hr) else None


def summarise(model: Model, images: list[dict[str, Any]], measures: Measures) -> dict[str, Any]:
    """A model's result on a benchmark; with metrics beside PSNR, SSIM and LPIPS, `measured` says on how many
    images each is there."""
    keys = [key for key in images[0] if key != "name"]
    found = {key: average([image[key] for image in images]) for key in keys}
    result: dict[str, Any] = {"protocol": measures.protocol, "scale": model.scale, "model": model.name}
    if measures.metrics:
        result["measured"] = {metric.name: found[metric.name][1] for metric in measures.metrics}
    return {**result, "mean": {key: mean for key, (mean, _) in found.items()}, "images": images}


def score(
    model: Model,
    pairs: Iterable[Pair],
    protocol: str,
    lpips: str = "st-lpips-alex",
    device: str = "cpu",
) -> dict[str, Any]:
    """Scores a model on pairs of LR and HR, as `evaluate` returns them; `device` is where LPIPS runs."""
    measures = Measures(metrics.protocol_name(protocol, model.scale), lpips, device=device)
    (images,), _ = score_images([model], pairs, measures)
    return summarise(model, images, measures)
