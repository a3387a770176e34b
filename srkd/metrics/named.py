"""The measures other than PSNR, SSIM and LPIPS, by the names that scores are stored under."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import numpy as np

from srkd.errors import SrkdError, UsageError, choose, first_line, name_missing_extra
from srkd.metrics import artefacts
from srkd.metrics.niqe import BLOCK, niqe
from srkd.metrics.scores import check_rgb
from srkd.metrics.text import text

Measure = Callable[[np.ndarray, np.ndarray, int], float | None]


@dataclass(frozen=True)
class Metric:
    """A measure of one image.

    Attributes:
        name: as scores are stored under, the protocol included: scores of another name do not compare.
        measure: maps SR and HR `(H, W, 3)` uint8 and the scale to the score, or to None where the image has
            nothing to measure it on. It raises UsageError for images that do not fit, SrkdError where a
            program or weights that it needs are missing.
        needs_hr: whether it compares with HR; the others look at SR alone (`measure` may be given SR twice).
        lower_is_better: the direction.
        unit: of the score; empty for a number without one.
        images: what it applies to, and is None without.
        about: what it measures, in a few words.
        prepare: what to do to LR and HR before the network sees LR; None for nothing.
    """

    name: str
    measure: Measure
    needs_hr: bool
    lower_is_better: bool
    unit: str
    images: str
    about: str
    prepare: Callable[[np.ndarray], np.ndarray] | None = None


_LEVELS = "8-bit levels"


def _niqe(sr: np.ndarray, _hr: np.ndarray, _scale: int) -> float | None:
    # The function refuses what has no room for its blocks; of a benchmark's images, some may have.
    room = (sr.shape[0] // BLOCK) * (sr.shape[1] // BLOCK)
    return niqe(sr) if room >= 2 else None


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            *("niqe", _niqe, False, True, "", "photographs from 96x192 pixels"),
            "distance from the statistics of good photographs",
        ),
        Metric(
            *("halo", lambda sr, hr, _: artefacts.halo(sr, hr), True, True, _LEVELS, "strong edges"),
            "overshoot beside strong edges",
        ),
        Metric(
            "flat-noise",
            *(lambda sr, hr, _: artefacts.flat_noise(sr, hr), True, True, _LEVELS, "flat ground"),
            "noise on flat ground",
        ),
        Metric(
            *("lattice", artefacts.lattice, True, True, _LEVELS, "flat ground, scales above 1"),
            "a grid of LR pixels on flat ground",
        ),
        *(
            Metric(name, measure, True, True, _LEVELS, "any, made gray first", about, artefacts.to_gray)
            for name, measure, about in (
                ("tint", lambda sr, hr, _: artefacts.tint(sr, hr), "colour in gray pictures, mean"),
                (
                    "tint-largest",
                    lambda sr, hr, _: artefacts.largest_tint(sr, hr),
                    "colour in gray pictures, largest",
                ),
            )
        ),
        Metric(
            *("text", lambda sr, hr, _: text(sr, hr), True, True, "errors per character", "a block of text"),
            "errors of a reader of text",
        ),
    )
}
_PYIQA = "pyiqa:"


def find_metric(name: str, device: str = "cpu") -> Metric:
    """The metric of a name: one of METRICS, or `pyiqa:NAME` for a metric of the package pyiqa (PolyForm
    Noncommercial licence), which downloads its weights at first use.

    Args:
        name: as given to `--metrics`.
        device: where a network of pyiqa runs.

    Raises:
        UsageError: an unknown name, or pyiqa is not installed.
        SrkdError: pyiqa cannot load the metric, for lack of its weights for instance.
    """
    if name.startswith(_PYIQA):
        return _load_pyiqa(name, device)
    choose("metric", name, [*METRICS, f"{_PYIQA}NAME"])
    return METRICS[name]


def _load_pyiqa(full: str, device: str) -> Metric:
    name = full.removeprefix(_PYIQA)
    try:
        pyiqa: Any = import_module("pyiqa")
        if not hasattr(pyiqa, "list_models"):  # a folder of this name beside the program
            raise ModuleNotFoundError(name="pyiqa")
    except ModuleNotFoundError as error:
        raise name_missing_extra(error, f"the metric {full}") from error
    known = pyiqa.list_models()
    if name not in known:
        near = ", ".join(_PYIQA + one for one in get_close_matches(name, known)) or "see pyiqa.list_models()"
        raise UsageError(f"pyiqa has no metric '{name}'; choose from: {near}")
    if name.startswith("fid") or name == "inception_score":
        raise UsageError(f"{full} compares sets of images, not one image with another")
    with _reported(f"cannot load {full}, whose weights it may have to download"), _safe_pickles():
        network = pyiqa.create_metric(name, device=device)

    def measure(sr: np.ndarray, hr: np.ndarray, scale: int) -> float:
        import torch

        images = (sr, hr) if network.metric_mode == "FR" else (sr,)
        check_rgb(*images)
        batches = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(device) / 255 for image in images]
        with _reported(f"{full} failed on an image of {sr.shape[1]}x{sr.shape[0]}"), torch.no_grad():
            return float(network(*batches))

    compares = network.metric_mode == "FR"
    return Metric(full, measure, compares, bool(network.lower_better), "", "any", f"{name} of pyiqa")


def describe(metric: Metric) -> str:
    """What a metric measures, its unit and direction, in a line."""
    unit = f", {metric.unit}" if metric.unit else ""
    better = "lower" if metric.lower_is_better else "higher"
    return f"{metric.name}: {metric.about}{unit}; {better} is better"


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """Whatever a package of others raises, as one line."""
    try:
        yield
    except Exception as error:
        raise SrkdError(f"{what}: {first_line(error)}") from error


@contextmanager
def _safe_pickles() -> Iterator[None]:
    """Makes torch.load refuse weights that could run code, also where its caller asks for them."""
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def average(scores: Sequence[float | None]) -> tuple[float | None, int]:
    """The mean of the scores that are not None, or None without any, and how many they are: a mean over part
    of a benchmark says over how many images it is."""
    known = [score for score in scores if score is not None]
    return (float(np.mean(known)) if known else None), len(known)
