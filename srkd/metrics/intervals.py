"""Confidence intervals of differences that come in pairs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

BETTER, WORSE, EQUAL = "better", "worse", "not told apart"


def paired_interval(values: Sequence[float], controls: Sequence[float]) -> dict[str, float | None]:
    """The 95 % confidence interval of a mean paired difference, by Student's t.

    Returns:
        `mean` of `values - controls`, and the interval's `half_width`: None for a single pair.
    """
    gaps = np.subtract(values, controls)
    if len(gaps) < 2:
        half_width = None
    elif np.ptp(gaps) == 0:
        half_width = 0.0  # where the t statistic is undefined
    else:
        from scipy.stats import ttest_rel

        interval = ttest_rel(values, controls).confidence_interval(0.95)
        half_width = float(interval.high - interval.low) / 2
    return {"mean": float(gaps.mean()), "half_width": half_width}


def tell_apart(gap: Mapping[str, float | None], higher_is_better: bool) -> str:
    """`better`, `worse`, or `not told apart`: the interval includes 0, or there is none, or
    a score is not finite."""
    mean, width = gap["mean"], gap["half_width"]
    if mean is None or width is None or not abs(mean) > width or math.isinf(mean):
        return EQUAL
    return BETTER if (mean > 0) == higher_is_better else WORSE
