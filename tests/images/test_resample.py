"""Resampling against MATLAB's results and against its definition."""

import numpy as np
import pytest
import scipy.sparse
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from srkd import UsageError
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.resample import downscale, resize, upscale_bicubic

images = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))

scales = st.sampled_from([2, 3, 4])


def cubic(x):
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def by_definition(row, target, scale):
    """One row resampled straight from the formula, a pixel at a time."""
    stretch, result = max(1, 1 / scale), []
    for i in range(target):
        centre = (i + 0.5) / scale - 0.5
        support = range(int(np.floor(centre - 2 * stretch)) - 1, int(np.ceil(centre + 2 * stretch)) + 2)
        weights = [cubic((centre - j) / stretch) for j in support]
        values = [row[min(max(j, 0), len(row) - 1)] for j in support]
        result.append(np.dot(weights, values) / sum(weights))
    return np.array(result)


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
def test_every_benchmark_lr_is_matlabs_bit_for_bit(benchmark, name):
    files = list_images(benchmark / name / "HR")
    assert len(files) == {"Set5": 5, "Set14": 14, "BSD100": 100}[name]
    for path in files:
        lr = read_image(benchmark / name / "LR" / path.name)
        assert np.array_equal(downscale(read_image(path), 4), lr), path.name


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_photograph_is_resampled_as_ever(photo, scale):
    """Stored results of the code that reproduced all of MATLAB's LR images bit for bit, for machines that do
    not have these."""
    with np.load(ROOT / "tests" / "golden" / "resample.npz") as golden:
        np.testing.assert_array_equal(downscale(photo, scale), golden[f"down{scale}"])
        np.testing.assert_array_equal(upscale_bicubic(photo[20:26, 30:38], scale), golden[f"up{scale}"])


@given(
    arrays(np.float64, (1, 13), elements=st.floats(0, 255)), st.sampled_from([0.25, 1 / 3, 0.5, 2, 3, 4, 1.7])
)
def test_a_row_follows_the_definition(row, scale):
    target = int(np.ceil(13 * scale))
    np.testing.assert_allclose(
        resize(row, (1, target), scale)[0], by_definition(row[0], target, scale), atol=1e-9
    )


@given(images, scales)
def test_shapes_and_types(image, scale):
    small, large = downscale(image, scale), upscale_bicubic(image, scale)
    assert small.shape == (-(-image.shape[0] // scale), -(-image.shape[1] // scale), 3)
    assert large.shape == (image.shape[0] * scale, image.shape[1] * scale, 3)
    assert small.dtype == large.dtype == np.uint8


@given(st.integers(0, 255), scales)
def test_flat_images_stay_flat(value, scale):
    image = np.full((9, 7, 3), value, np.uint8)
    assert (downscale(image, scale) == value).all() and (upscale_bicubic(image, scale) == value).all()


@given(images, scales)
def test_mirrored_in_mirrored_out(image, scale):
    # Half a level: a tie may round to either side once the sums run the other way.
    image = image.astype(float)
    mirrored = upscale_bicubic(image[:, ::-1], scale)[:, ::-1]
    np.testing.assert_allclose(upscale_bicubic(image, scale), mirrored, atol=1e-9)


def test_floats_are_not_clipped():
    step = np.repeat([0.0, 1.0], 8)[None].repeat(4, 0)
    result = upscale_bicubic(step, 4)
    assert result.min() < 0 and result.max() > 1


def test_refuses_what_it_cannot_do():
    with pytest.raises(UsageError, match="int32"):
        downscale(np.zeros((8, 8), np.int32), 2)
    with pytest.raises(UsageError, match="shape"):
        downscale(np.zeros((0, 8), np.uint8), 2)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(0, 255)),
    st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 2, 3, 4]),
)
def test_sums_round_as_those_of_a_sparse_matrix(image, scale):
    # Not only close: halves must round to the same side, or stored LR images and scores change.
    length, target, stretch = len(image), int(np.ceil(len(image) * scale)), max(1.0, 1 / scale)
    centre = (np.arange(target) + 0.5) / scale - 0.5
    index = np.floor(centre - 2 * stretch).astype(int)[:, None] + np.arange(int(np.ceil(4 * stretch)) + 2)
    weight = np.vectorize(cubic)((centre[:, None] - index) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    places = (np.repeat(np.arange(target), index.shape[1]), np.clip(index, 0, length - 1).ravel())
    matrix = scipy.sparse.csr_array((weight.ravel(), places), shape=(target, length))
    # One column wide, and enlarged by one: the second pass changes nothing.
    result = np.stack([resize(column[:, None], (target, 1), scale)[:, 0] for column in image.T], axis=1)
    np.testing.assert_allclose(result, matrix @ image, atol=1e-12)
