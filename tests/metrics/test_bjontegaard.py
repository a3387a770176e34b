"""BD-LPIPS and BD-PSNR: hand-computed cases, properties, and curves that cannot be compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srkd import UsageError
from srkd.metrics.bjontegaard import bd_difference, front


def test_a_hand_computed_case():
    """Straight lines: LPIPS = 0.1 (p - 28) and 0.05 (p - 28) from 29 to 31, the second from 28 to 31.

    Their difference 0.05 (p - 28) has the mean 0.05 x 2 over 29 to 31. At LPIPS l the PSNRs are 28 + 10 l and
    28 + 20 l; over the common 0.1 to 0.15 the difference -10 l has the mean -1.25.
    """
    steep = [(p, 0.1 * (p - 28)) for p in (29, 29.5, 30, 31)]
    flat = [(p, 0.05 * (p - 28)) for p in (28, 29, 30.5, 31)]
    found = bd_difference(steep, flat)
    assert found.lpips == pytest.approx(0.1)
    # 0.05 of the 0.2 that the steep one covers.
    assert found.psnr is None and "share 25% of their LPIPS" in found.why_no_psnr
    narrow = [(p, 0.1 * (p - 28)) for p in (29, 29.2, 29.5)]
    found = bd_difference(narrow, [(p, 0.05 * (p - 28)) for p in (30, 30.5, 31)])
    assert found.psnr == pytest.approx(-1.25) and found.lpips is None


def test_the_cubic_between_three_points():
    """PCHIP through (0, 0), (1, 0), (2, 1): flat to 1, where the slope is 0. Its end slope is
    (3 x 1 - 0) / 2 = 1.5 by the three-point formula; the Hermite cubic with slopes 0
    and 1.5 has the area 1/2 - 1.5/12."""
    curved = [(30, 0.1), (31, 0.1000001), (32, 1.1)]
    straight = [(30, 0.1), (32, 0.1 + 1e-9)]
    assert bd_difference(curved, straight).lpips == pytest.approx((0.5 - 0.125) / 2, abs=1e-5)


# Points of a front: PSNR and LPIPS rising together.
steps = st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.005, 0.05)), min_size=3, max_size=11)


def rising(steps):
    return shifted(np.cumsum(np.array(steps), axis=0), 28, 0.05)


def shifted(curve, psnr, lpips):
    return curve + np.array([psnr, lpips])


@settings(deadline=None, max_examples=60)
@given(steps, st.floats(-0.03, 0.03))
def test_a_shifted_curve_differs_by_the_shift(steps, shift):
    curve = rising(steps)
    assert bd_difference(shifted(curve, 0, shift), curve).lpips == pytest.approx(shift, abs=1e-9)
    in_db = bd_difference(shifted(curve, shift, 0), curve).psnr
    assert in_db == pytest.approx(shift, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(steps, steps)
def test_swapped_curves_differ_by_the_opposite(first, second):
    there, back = bd_difference(rising(first), rising(second)), bd_difference(rising(second), rising(first))
    for one, other in ((there.lpips, back.lpips), (there.psnr, back.psnr)):
        assert (one is None and other is None) or one == pytest.approx(-other, abs=1e-12)
    equal = bd_difference(rising(first), rising(first))
    assert equal.lpips == equal.psnr == 0
    # The order of the points does not matter.
    assert bd_difference(rising(first)[::-1], rising(second)) == there


@settings(deadline=None, max_examples=60)
@given(steps, steps)
def test_a_difference_lies_within_the_greatest_and_the_least(first, second):
    """Monotone interpolation does not overshoot: the mean is between differences of the curves' extremes."""
    a, b = rising(first), rising(second)
    found = bd_difference(a, b).lpips
    if found is not None:
        assert a[0, 1] - b[-1, 1] - 1e-12 <= found <= a[-1, 1] - b[0, 1] + 1e-12


def test_points_that_another_beats_are_left_out():
    """Equal points, a PSNR that first rises, and an LPIPS that ends by rising."""
    curve = [(31.0, 0.14), (31.1, 0.13), (30.5, 0.10), (30.5, 0.10), (30.0, 0.08), (29.5, 0.085)]
    assert front(curve).tolist() == [[30.0, 0.08], [30.5, 0.10], [31.1, 0.13]]
    assert bd_difference(curve, front(curve)) == (0, 0, "", "")


@pytest.mark.parametrize("points", [[(30, 0.1)], [(30, 0.1)] * 4, [(30, 0.1), (29, 0.2)]])
def test_a_single_point_is_no_curve(points):
    """Nor are equal ones, or such of which one beats all."""
    found = bd_difference([(30, 0.1), (31, 0.2)], points)
    assert found[:2] == (None, None)
    assert "single point" in found.why_no_lpips and "single point" in found.why_no_psnr


@pytest.mark.parametrize(("share", "given"), [(0.49, False), (0.51, True)])
def test_curves_that_share_less_than_half_are_not_compared(share, given):
    curve = np.array([(28, 0.1), (30, 0.2)])
    found = bd_difference(shifted(curve, 2 * (1 - share), 0), curve)
    assert (found.lpips is not None) == given and bool(found.why_no_lpips) != given
    # Nor those that do not meet, and a short curve within a long one.
    assert bd_difference(shifted(curve, 5, 0), curve).lpips is None
    assert (bd_difference([(28, 0.1), (28 + 2 * share, 0.2)], curve).lpips is not None) == given


@pytest.mark.parametrize("points", [[(np.inf, 0.1), (30, 0.2)], [(30, np.nan)], [30, 31], []])
def test_scores_that_are_none_are_refused(points):
    with pytest.raises(UsageError, match="curve"):
        bd_difference(points, [(30, 0.1), (31, 0.2)])
