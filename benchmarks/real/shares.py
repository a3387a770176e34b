"""How far towards the teacher a student is, and means with their intervals."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from srkd.metrics.intervals import BETTER, paired_interval, tell_apart

RESAMPLES = 9999


def share_of_the_way(
    bicubic: Sequence[float], student: Sequence[float], teacher: Sequence[float]
) -> dict[str, Any]:
    """The student's share of the teacher's way from bicubic: (mean of bicubic - mean of the student) / (mean
    of bicubic - mean of the teacher), of a measure whose lower values are better.

    A ratio of means, since a photograph that the teacher hardly improves would decide a mean of ratios.

    Args:
        bicubic, student, teacher: a value for each photograph, in one order.

    Returns:
        `share`, and `low` and `high` of its 95 % percentile bootstrap interval over photographs (None for a
        single one). Where the teacher is not better than bicubic, by its paired interval, `share` is None,
        and `why` says so.
    """
    gap = paired_interval(teacher, bicubic)
    ahead = tell_apart(gap, higher_is_better=False) == BETTER
    if (len(bicubic) > 1 and not ahead) or gap["mean"] is None or gap["mean"] >= 0:
        return {"share": None, "why": "the teacher is not better than bicubic"}
    share = _ratio(np.array(bicubic), np.array(student), np.array(teacher))
    found: dict[str, Any] = {"share": float(share), "low": None, "high": None}
    if len(bicubic) > 1:
        from scipy.stats import bootstrap

        interval = bootstrap(
            (bicubic, student, teacher),
            _ratio,
            n_resamples=RESAMPLES,
            paired=True,
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        found |= {"low": float(interval.low), "high": float(interval.high)}
    return found


def _ratio(bicubic: np.ndarray, student: np.ndarray, teacher: np.ndarray, axis: int = -1) -> np.ndarray:
    before = bicubic.mean(axis)
    return (before - student.mean(axis)) / (before - teacher.mean(axis))


def mean_by_picture(scores: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """The mean over each picture's draws; pictures without a score are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for picture, score in scores:
        if score is not None:
            found[picture].append(score)
    return {picture: float(np.mean(values)) for picture, values in found.items()}


def average_pictures(scores: Mapping[str, float]) -> dict[str, float]:
    """The mean over pictures, and how many they are."""
    return {"mean": float(np.mean(list(scores.values()))), "pictures": len(scores)}


def compare(
    scores: Mapping[str, float], others: Mapping[str, float], higher_is_better: bool
) -> dict[str, Any] | None:
    """The mean paired difference over the pictures that both have, its 95 % interval, and the verdict; None
    without such pictures."""
    common = sorted(scores.keys() & others.keys())
    if not common:
        return None
    gap = paired_interval([scores[name] for name in common], [others[name] for name in common])
    return {**gap, "verdict": tell_apart(gap, higher_is_better)}
