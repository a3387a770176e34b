"""Scores of networks' pictures against HR and against the teacher's."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import srkd
from benchmarks.real.cases import Case
from benchmarks.real.networks import Network, enlarge
from benchmarks.runtimes import SCALE
from benchmarks.strategies.score import LPIPS, PROTOCOL, CachedTrunk, to_tensor
from srkd.files import write_text
from srkd.metrics import psnr
from srkd.metrics.artefacts import to_gray
from srkd.metrics.named import METRICS
from srkd.metrics.perceptual import STLPIPS
from srkd.terminal import progress

TO_HR = ("psnr", *LPIPS)
# Nearness to the teacher's picture.
TO_TEACHER = tuple(f"near {name}" for name in TO_HR)
ARTEFACTS = ("halo", "flat-noise", "lattice", "niqe")
MEASURES = (*TO_HR, *TO_TEACHER, *ARTEFACTS, "tint", "text")
HIGHER_IS_BETTER = ("psnr", "near psnr")
# Kinds that Tesseract reads.
TEXT_KINDS = ("scan",)

# None where a picture has nothing to measure it on.
Scores = dict[str, float | None]


class Row(NamedTuple):
    """A network's scores on a case."""

    case: Case
    network: str
    scores: Scores


class Scorer:
    """Measures pictures of a case, whose references' features are computed once."""

    def __init__(self) -> None:
        self.references = torch.empty(0)
        self.lpips = {name: STLPIPS(name.replace("-lpips", "")).eval() for name in LPIPS}
        for measure in self.lpips.values():
            measure.trunk = CachedTrunk(measure.trunk)  # type: ignore[assignment]  # it remembers features

    @torch.no_grad()
    def look_at(self, references: Sequence[np.ndarray]) -> None:
        """Sets the pictures to compare with."""
        self.references = torch.cat([to_tensor(image) for image in references])
        for measure in self.lpips.values():
            measure.trunk.keep(self.references)  # type: ignore[operator]  # it remembers features

    @torch.no_grad()
    def distances(self, sr: np.ndarray) -> dict[str, list[float]]:
        """LPIPS by variant, one for each reference."""
        image: Tensor = to_tensor(sr)
        return {name: measure(image, self.references).tolist() for name, measure in self.lpips.items()}


def score(scorer: Scorer, sr: np.ndarray, case: Case, teacher: np.ndarray, text: bool) -> Scores:
    """All scores of a picture but `tint`; those that need HR are None without it. `scorer` looks at HR, where
    there is one, and the teacher's picture."""
    found: Scores = dict.fromkeys(MEASURES)
    distances = scorer.distances(sr)
    # The teacher's own has no limit, which JSON does not have either.
    near = psnr(sr, teacher, PROTOCOL)
    found["near psnr"] = near if np.isfinite(near) else None
    found |= {f"near {name}": values[-1] for name, values in distances.items()}
    found["niqe"] = METRICS["niqe"].measure(sr, sr, SCALE)
    if case.hr is None:
        return found
    found["psnr"] = psnr(sr, case.hr, PROTOCOL)
    found |= {name: values[0] for name, values in distances.items()}
    found |= {name: METRICS[name].measure(sr, case.hr, SCALE) for name in ARTEFACTS if name != "niqe"}
    if text and case.kind in TEXT_KINDS:
        found["text"] = METRICS["text"].measure(sr, case.hr, SCALE)
    return found


def find_tint(network: Network, case: Case, folder: Path) -> float | None:
    """Of the case's LR made gray; None without HR, and for draws other than the first, to save time."""
    if case.hr is None or case.draw:
        return None
    return METRICS["tint"].measure(enlarge(network, to_gray(case.lr), folder), to_gray(case.hr), SCALE)


def score_all(
    cases: Sequence[Case], networks: Sequence[Network], folder: Path, text: bool = False
) -> list[Row]:
    """Every network on every case; the second network is the teacher. `folder` holds the cache."""
    scorer, rows = Scorer(), []
    with progress("scoring", len(cases) * len(networks)) as advance:
        for case in cases:
            teacher = enlarge(networks[1], case.lr, folder)
            ready = False
            for network in networks:
                sr = enlarge(network, case.lr, folder)
                file = folder / f"{_key(sr, case, teacher, text)}.json"
                scores = _read(file)
                if scores is None:
                    if not ready:
                        scorer.look_at([image for image in (case.hr, teacher) if image is not None])
                        ready = True
                    scores = score(scorer, sr, case, teacher, text)
                    write_text(file, json.dumps(scores) + "\n")
                rows.append(Row(case, network.label, {**scores, "tint": find_tint(network, case, folder)}))
                advance(1)
    return rows


def _key(sr: np.ndarray, case: Case, teacher: np.ndarray, text: bool) -> str:
    """Scores are kept under srkd's version and the pixels that they are of."""
    images = (sr, teacher, *(() if case.hr is None else (case.hr,)))
    parts = [f"{srkd.__version__} {text and case.kind in TEXT_KINDS}".encode()]
    return hashlib.sha256(b"-".join([*parts, *(image.tobytes() for image in images)])).hexdigest()[:24]


def _read(path: Path) -> Scores | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
