"""Scores of weights on benchmark images, kept in a cache."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import srkd
from benchmarks.runtimes import SCALE
from benchmarks.strategies.rows import Row
from srkd import metrics
from srkd.commands.evaluate import open_benchmark
from srkd.data import Pair
from srkd.errors import SrkdError, UsageError
from srkd.files import write_text
from srkd.metrics.perceptual import STLPIPS
from srkd.metrics.trunks import check_size
from srkd.runtimes.runner import Runner
from srkd.terminal import console, progress
from srkd.upscaling.opening import open_runner

PROTOCOL = "y-crop4"
LPIPS = ("st-lpips-alex", "st-lpips-vgg")
MEASURES = ("psnr", "ssim", *LPIPS)

# Of an image, by key of the weights.
Scores = dict[str, dict[str, float]]


class CachedTrunk(nn.Module):
    """A trunk that keeps the features of one image, which many others are compared with."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk
        self.image: Tensor | None = None
        self.features: dict[str, Tensor] = {}

    def keep(self, image: Tensor) -> None:
        self.features, self.image = self.trunk(image), image

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.features if x is self.image else self.trunk(x)


class Scorer:
    """Scores images as `srkd evaluate` does, but computes the features of each HR image once."""

    def __init__(self, basic: Sequence[str] = ("psnr", "ssim"), lpips: Sequence[str] = LPIPS) -> None:
        self.basic = basic
        self.pair: Pair | None = None
        self.hr = torch.empty(0)
        self.measures = {name: STLPIPS(name.replace("-lpips", "")).eval() for name in lpips}
        for measure in self.measures.values():
            measure.trunk = CachedTrunk(measure.trunk)  # type: ignore[assignment]  # it remembers features

    @torch.no_grad()
    def score(self, sr: np.ndarray, pair: Pair) -> dict[str, float]:
        if pair is not self.pair:
            check_size(*pair.hr.shape[:2])
            self.pair, self.hr = pair, to_tensor(pair.hr)
            for measure in self.measures.values():
                measure.trunk.keep(self.hr)  # type: ignore[operator]  # it remembers features
        image = to_tensor(sr)
        distances = {name: float(measure(image, self.hr)) for name, measure in self.measures.items()}
        return {**{name: getattr(metrics, name)(sr, pair.hr, PROTOCOL) for name in self.basic}, **distances}


def to_tensor(image: np.ndarray) -> Tensor:
    # A copy: torch warns of arrays that may not be written.
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def cache_path(folder: Path, set_name: str, pair: Pair) -> Path:
    """The file of an image's scores, named by its pixels and srkd's version: changed images are rescored."""
    parts = (srkd.__version__.encode(), pair.hr.tobytes(), pair.lr.tobytes())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return folder / f"{set_name}-{Path(pair.name).stem}-{digest}.json"


def read_cache(path: Path) -> Scores:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


@cache
def open_model(path: Path | str) -> Runner:
    """Weights in torch on the CPU in float32, so that scores agree between machines up to rounding."""
    upscaler = open_runner(path, "cpu", SCALE)
    if upscaler.scale != SCALE:
        raise UsageError(f"{path} is x{upscaler.scale}; the table needs x{SCALE}")
    return upscaler


def score_all(rows: Sequence[Row], data: Path, sets: Sequence[str], folder: Path) -> dict[str, list[Scores]]:
    """Scores by set, image and weights; `folder` holds the cache. Images are the outer loop, so that each is
    read once."""
    paths = {key: path for row in rows for key, path in zip(row.keys, row.weights, strict=True)}
    scorer = Scorer()
    counts = {name: open_benchmark(str(data / name), SCALE)[0] for name in sets}
    found: dict[str, list[Scores]] = {name: [] for name in sets}
    with progress("scoring", len(paths) * sum(counts.values())) as advance:
        for name, count in counts.items():
            console.print(f"{name}: {count} images, {len(paths)} models", markup=False)
            for pair in open_benchmark(str(data / name), SCALE)[1]:
                file = cache_path(folder, name, pair)
                scores = read_cache(file)
                for key, path in paths.items():
                    if key not in scores:
                        scores[key] = score_one(scorer, path, pair, name)
                        write_text(file, json.dumps(scores) + "\n")
                    advance(1)
                found[name].append(scores)
    return found


def score_one(scorer: Scorer, path: Path | str, pair: Pair, set_name: str) -> dict[str, float]:
    try:
        return scorer.score(open_model(path)(pair.lr), pair)
    except SrkdError as error:
        raise type(error)(f"{set_name}, {pair.name}, {path}: {error}") from error


def summarise(row: Row, scores: Mapping[str, Sequence[Scores]]) -> dict[str, Any]:
    """By set and measure, the mean over images of each seed, and the mean and deviation over seeds."""
    result: dict[str, Any] = {}
    for name, images in scores.items():
        result[name] = {}
        for measure in MEASURES:
            seeds = [float(np.mean([image[key][measure] for image in images])) for key in row.keys]
            deviation = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
            result[name][measure] = {"mean": float(np.mean(seeds)), "std": deviation, "seeds": seeds}
    return {"row": row.name, "stage": row.stage, "control": row.control, "scores": result}
