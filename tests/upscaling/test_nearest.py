"""The nearest of some pixels, as SciPy finds it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from srkd.upscaling import nearest
from srkd.upscaling.nearest import find_nearest

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda mask: mask.any())


def by_scipy(chosen):
    return distance_transform_edt(~chosen, return_distances=False, return_indices=True)


@settings(max_examples=300, deadline=None)
@given(masks)
def test_the_same_pixel_as_scipys(chosen):
    assert np.array_equal(find_nearest(chosen), by_scipy(chosen))


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.99])
def test_larger_images_block_by_block(share, monkeypatch):
    monkeypatch.setattr(nearest, "_BLOCK", 50)
    y, x = np.mgrid[:170, :230]
    chosen = np.random.default_rng(0).random((170, 230)) < share
    for mask in (chosen | (y + x == 0), np.hypot(y - 80, x - 90) < 40, np.hypot(y - 80, x - 90) > 60):
        assert np.array_equal(find_nearest(mask), by_scipy(mask))
