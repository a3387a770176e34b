"""Bjøntegaard's mean difference of two curves of PSNR and LPIPS.

A perceptual student trades PSNR for LPIPS, so that one score of each says little. Each student is a curve
instead, of weights interpolated between its PSNR-trained start and its end; the curves are compared where
both of them go (after Bjøntegaard 2001, ITU-T VCEG-M33, with monotone piecewise-cubic interpolation).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from srkd.errors import UsageError

# The least part of the longer curve's range that both curves must cover.
LEAST_OVERLAP = 0.5

Points = Sequence[Sequence[float]]


class BD(NamedTuple):
    """A mean difference of two curves.

    Args:
        lpips: BD-LPIPS, in LPIPS at equal PSNR; negative is better. None where `why_no_lpips` says why.
        psnr: BD-PSNR, in dB at equal LPIPS; positive is better. None where `why_no_psnr` says why.
    """

    lpips: float | None
    psnr: float | None
    why_no_lpips: str = ""
    why_no_psnr: str = ""


def bd_difference(points: Points, others: Points) -> BD:
    """The mean difference of a curve from another.

    A point that another of its curve beats in one measure without losing in the other is left out: nobody
    would choose it, and what remains is monotone, as the interpolation needs.

    Args:
        points: the curve's (PSNR in dB, LPIPS), in any order.
        others: those of the curve to compare with.

    Raises:
        UsageError: a score that is not finite, or not two scores a point.
    """
    curve, other = front(points), front(others)
    lpips, why_no_lpips = _mean_difference(curve, other, "PSNR")
    # LPIPS rises with PSNR along a front, so the columns swap as they are.
    psnr, why_no_psnr = _mean_difference(curve[:, ::-1], other[:, ::-1], "LPIPS")
    return BD(lpips, psnr, why_no_lpips, why_no_psnr)


def front(points: Points) -> np.ndarray:
    """The points of a curve that no other beats, `(N, 2)`, both PSNR and LPIPS rising.

    Raises:
        UsageError: a score that is not finite, or not two scores a point.
    """
    values = np.asarray(points, float)
    if values.ndim != 2 or values.shape[1:] != (2,) or not len(values):
        raise UsageError(f"a curve has points of PSNR and LPIPS, not an array of shape {values.shape}")
    if not np.isfinite(values).all():
        raise UsageError("a curve has a score that is not finite, so nothing can be compared")
    kept: list[np.ndarray] = []
    # From the highest PSNR down, and at equal PSNR from the lowest LPIPS up.
    for point in values[np.lexsort((values[:, 1], -values[:, 0]))]:
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return np.array(kept[::-1])


def _mean_difference(curve: np.ndarray, other: np.ndarray, axis: str) -> tuple[float | None, str]:
    """The mean of curve - other in the second column, over the common range of the first."""
    from scipy.interpolate import PchipInterpolator

    if min(len(curve), len(other)) < 2:
        return None, "one of the curves is a single point"
    low, high = max(curve[0, 0], other[0, 0]), min(curve[-1, 0], other[-1, 0])
    longer = max(np.ptp(curve[:, 0]), np.ptp(other[:, 0]))
    share = max(high - low, 0.0) / longer
    if share < LEAST_OVERLAP:
        return None, f"the curves share {share:.0%} of their {axis}, less than half"
    areas = [float(PchipInterpolator(*each.T).integrate(low, high)) for each in (curve, other)]
    return (areas[0] - areas[1]) / (high - low), ""
