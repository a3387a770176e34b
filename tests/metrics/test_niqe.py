"""NIQE against published and reference values."""

import numpy as np
import pytest
from skimage import data

from srkd import UsageError
from srkd.images.reading import read_image
from srkd.images.resample import downscale, upscale_bicubic
from srkd.metrics.niqe import niqe


# BasicSR 1.4.2's calculate_niqe (convert_to="y"), which reproduces the authors' MATLAB code to 4 digits,
# computes in single precision; where a photograph has clipped, wholly flat ground, that alone moves its score
# by 0.0006.
@pytest.mark.parametrize(
    ("name", "score", "tolerance"),
    [("chelsea", 2.625524, 2e-5), ("coffee", 4.115240, 2e-5), ("astronaut", 3.064958, 1e-3)],
)
def test_reference(name, score, tolerance):
    assert niqe(getattr(data, name)()) == pytest.approx(score, abs=tolerance)


def test_published(benchmark):
    """MATLAB R2021a's value for the baboon of Set14, which BasicSR publishes."""
    baboon = read_image(benchmark / "Set14" / "HR" / "img_001.png")
    assert niqe(baboon) == pytest.approx(5.72957338, abs=1e-5)


def test_blur_and_noise_are_less_natural():
    photo = data.chelsea()[:288, :384]
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 15, photo.shape), 0, 255).astype(np.uint8)
    blurred = upscale_bicubic(downscale(photo, 4), 4)
    assert niqe(photo) + 1 < min(niqe(noisy), niqe(blurred))


def test_what_lies_beyond_the_blocks_does_not_count():
    photo = data.chelsea()[:192, :192]
    assert niqe(np.pad(photo, ((0, 95), (0, 95), (0, 0)))) == niqe(photo)


def test_flat_ground_is_not_measured():
    photo = np.full((288, 192, 3), 128, np.uint8)
    assert niqe(photo) is None
    # The blocks of the third row are out of the reach of what is in the first.
    photo[:96] = data.chelsea()[:96, :192]
    assert np.isfinite(niqe(photo))


@pytest.mark.parametrize("shape", [(191, 95, 3), (96, 191, 3), (10, 10, 3), (300, 300)])
def test_misuse(shape):
    with pytest.raises(UsageError, match=r"96x96|RGB"):
        niqe(np.zeros(shape, np.uint8))
