"""PSNR and SSIM against scikit-image, and published scores."""

import math

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srkd import UsageError
from srkd.commands.evaluate import evaluate
from srkd.commands.evaluating.scoring import score
from srkd.data import find_pairs, read_pair
from srkd.metrics.perceptual import lpips
from srkd.metrics.scores import luma, protocol_name, psnr, ssim
from srkd.runtimes.runner import Runner
from srkd.upscaling.opening import open_runner


@pytest.fixture
def pair(photos):
    found = read_pair(*find_pairs(photos)[1], 4)
    return open_runner("bicubic")(found.lr), found.hr


def test_luma_is_scikit_images(pair):
    np.testing.assert_allclose(luma(pair[1]), rgb2ycbcr(pair[1])[..., 0], atol=1e-9)


def test_psnr_and_ssim_are_scikit_images_inside_the_border(pair):
    inner = [rgb2ycbcr(image)[4:-4, 4:-4, 0] for image in pair]
    assert psnr(*pair, "y-crop4") == pytest.approx(peak_signal_noise_ratio(*inner[::-1], data_range=255))
    expected = structural_similarity(
        *inner, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(*pair, "y-crop4") == pytest.approx(expected)
    inner = [image[4:-4, 4:-4] for image in pair]
    assert psnr(*pair, "rgb-crop4") == pytest.approx(peak_signal_noise_ratio(*inner[::-1], data_range=255))


def test_equal_images(pair):
    assert psnr(pair[1], pair[1], "y-crop4") == math.inf
    assert ssim(pair[1], pair[1], "y-crop4") == pytest.approx(1)
    assert lpips(pair[1], pair[1]) == 0


def test_more_noise_is_farther_by_every_score(pair):
    rng = np.random.default_rng(0)
    noisy = [np.clip(pair[1] + rng.normal(0, s, pair[1].shape), 0, 255).astype(np.uint8) for s in (2, 10, 40)]
    for score_of in (psnr, ssim):
        found = [score_of(image, pair[1], "y-crop4") for image in noisy]
        assert found[0] > found[1] > found[2]
    found = [lpips(image, pair[1]) for image in noisy]
    assert found[0] < found[1] < found[2]


def test_protocols_are_named_and_not_mixed(pair):
    assert protocol_name("y-crop", 3) == "y-crop3"
    assert psnr(*pair, "y-crop4") - psnr(*pair, "rgb-crop4") > 1
    for wrong, message in (("y-crop2", "x2"), ("z-crop", "y-crop, rgb-crop"), ("y-crop4x", "unknown")):
        with pytest.raises(UsageError, match=message):
            protocol_name(wrong, 4)


@pytest.mark.parametrize("protocol", ["y-crop", "rgb-crop"])
def test_a_protocol_without_its_scale_is_refused(pair, protocol):
    """It would cut no border, and score higher or lower than the papers do."""
    for score_of in (psnr, ssim):
        with pytest.raises(
            UsageError, match=rf"{protocol} needs its scale, whose border it cuts: at x4 {protocol}4"
        ):
            score_of(*pair, protocol)
    with pytest.raises(UsageError, match="unknown protocol 'y'"):
        psnr(*pair, "y")


def test_sizes_that_cannot_be_scored(pair):
    with pytest.raises(UsageError, match="differ in size"):
        psnr(pair[0][1:], pair[1], "y-crop4")
    with pytest.raises(UsageError, match="nothing inside"):
        psnr(pair[0][:8, :8], pair[1][:8, :8], "y-crop4")
    with pytest.raises(UsageError, match="32x32"):
        lpips(pair[0][:31], pair[1][:31])


def test_bicubic_on_set5_has_the_published_scores(benchmark):
    result = evaluate("bicubic", str(benchmark / "Set5"))
    assert result["protocol"] == "y-crop4"
    assert result["mean"]["psnr"] == pytest.approx(28.43, abs=0.005)
    assert result["mean"]["ssim"] == pytest.approx(0.8109, abs=0.001)
    assert result["mean"]["st-lpips-alex"] == pytest.approx(0.326, abs=0.005)
    pairs = [read_pair(*paths, 4) for paths in find_pairs(benchmark / "Set5")]
    vgg = score(open_runner("bicubic"), pairs, "y-crop", "st-lpips-vgg")
    assert vgg["mean"]["st-lpips-vgg"] == pytest.approx(0.378, abs=0.005)


def test_evaluation_scores_what_the_model_gives(photos):
    pairs = [read_pair(*paths, 4) for paths in find_pairs(photos)]
    answers = {pair.lr.tobytes(): pair.hr for pair in pairs}

    def know(batch):
        lr = np.rint(batch[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        return answers[lr.tobytes()].transpose(2, 0, 1)[None] / np.float32(255)

    result = score(Runner("oracle", 4, 0, know), pairs, "y-crop")
    assert [image["psnr"] for image in result["images"]] == [math.inf] * len(pairs)
    assert result["mean"]["st-lpips-alex"] == 0
