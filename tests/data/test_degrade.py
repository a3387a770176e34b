"""Random degradation: against the published mix, and as part of training."""

import io
import math
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from scipy.stats import kstest

import srkd
from srkd.data.degrade import degrade, draw_lr, make_kernel, make_sinc, poisson_noise
from srkd.degradation import PRESETS, Degradation, make_degradation
from srkd.images.reading import read_image

REAL = Degradation()
# Nothing happens but resizing to the LR size.
NOTHING = replace(
    REAL,
    **dict.fromkeys(("blur_prob", "blur_prob2", "noise_prob", "noise_prob2", "final_sinc_prob"), 0.0),
    **{"jpeg_prob": 0.0, "jpeg_prob2": 0.0, "resize_prob": (0, 0, 1), "resize_prob2": (0, 0, 1)},
    resize_modes=("area",),
)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def hr(photos):
    return read_image(next(photos.glob("astronaut_0*")))


def steps(mix, count=400, image=None):
    """What many draws say they did, each a list of steps."""
    image = np.full((16, 16, 3), 128, np.uint8) if image is None else image
    found = []
    for seed in range(count):
        found.append([])
        degrade(image, 4, rng(seed), mix, found[-1].append)
    return found


def test_degraded_images_are_reproducible_and_differ_from_draw_to_draw(hr):
    first = degrade(hr, 4, rng(1), REAL)
    assert first.shape == (24, 24, 3) and first.dtype == np.uint8
    assert np.array_equal(first, degrade(hr, 4, rng(1), REAL))
    assert not np.array_equal(first, degrade(hr, 4, rng(2), REAL))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degraded_images_still_show_the_same(hr, scale, preset):
    """Over many draws an LR image is worse than bicubic's, and nearer to its own than to another's."""
    mix = make_degradation(preset)
    side = len(hr) // scale
    clean = hr.reshape(side, scale, side, scale, 3).mean((1, 3)) / 255
    draws = [degrade(hr, scale, rng(seed), mix) / 255 for seed in range(16)]
    near = np.mean([np.square(draw - clean).mean() for draw in draws])
    far = np.mean([np.square(draw - clean[:, ::-1]).mean() for draw in draws])
    assert 1e-5 < near < 0.5 * far


def test_nothing_but_a_resize_is_a_mean_over_squares(hr):
    expected = hr.reshape(24, 4, 24, 4, 3).astype(float).mean((1, 3))
    assert np.abs(degrade(hr, 4, rng(), NOTHING) - expected).max() <= 0.5 + 1e-4


# The published ranges and chances, from the options of train_realesrgan_x4plus.


def test_the_defaults_are_the_published_values():
    published = {
        "kernel_prob": (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
        **{"sinc_prob": 0.1, "final_sinc_prob": 0.8, "blur_prob": 1, "blur_prob2": 0.8},
        **{"blur_sigma": (0.2, 3), "blur_sigma2": (0.2, 1.5), "betag_range": (0.5, 4), "betap_range": (1, 2)},
        **{"resize_prob": (0.2, 0.7, 0.1), "resize_range": (0.15, 1.5)},
        **{"resize_prob2": (0.3, 0.4, 0.3), "resize_range2": (0.3, 1.2)},
        **{"gaussian_noise_prob": 0.5, "gray_noise_prob": 0.4, "noise_prob": 1, "noise_prob2": 1},
        **{"noise_range": (1, 30), "noise_range2": (1, 25)},
        **{"poisson_scale_range": (0.05, 3), "poisson_scale_range2": (0.05, 2.5)},
        **{"jpeg_range": (30, 95), "jpeg_range2": (30, 95), "jpeg_prob": 1, "jpeg_prob2": 1},
        **{"kernel_size": (7, 21), "resize_modes": ("area", "bilinear", "bicubic"), "clean": 0},
    }
    assert {f.name: getattr(REAL, f.name) for f in fields(REAL)} == {"preset": "real", **published}


def share(found, total):
    """A share of draws, with room for three standard errors at most."""
    return pytest.approx(found, abs=3 * math.sqrt(max(found * (1 - found), 0.01) / total))


def test_blurs_have_the_published_chances():
    """Of Gaussian kernels .64 are isotropic, of the others .8; one in ten is a sinc."""
    only_blur = replace(NOTHING, blur_prob=1.0)
    words = [found[0].split() for found in steps(only_blur, 1500)]
    kinds = Counter(word[0] for word in words)
    assert kinds["sinc"] / 1500 == share(0.1, 1500)
    blurs = [word for word in words if word[0] != "sinc"]
    for kind, chance, even in (
        ("gaussian", 0.7, 0.45 / 0.7),
        ("generalized", 0.15, 0.8),
        ("plateau", 0.15, 0.8),
    ):
        own = [word for word in blurs if word[0] == kind]
        assert len(own) / len(blurs) == share(chance, len(blurs))
        assert sum(word[2] == word[4].rstrip(",") for word in own) / len(own) == share(even, len(own))
    sigmas = [float(word[2]) for word in blurs]
    assert kstest(sigmas, "uniform", (0.2, 2.8)).pvalue > 1e-3
    assert {int(word[5]) for word in blurs} == set(range(7, 22, 2))
    betas = {kind: [float(w[-1]) for w in blurs if w[0] == kind and "beta" in w] for kind in kinds}
    assert np.mean([b < 1 for b in betas["generalized"]]) == share(0.5, len(betas["generalized"]))
    # Half of the plateau's are at 1, which is not mentioned.
    plateaus = sum(word[0] == "plateau" for word in blurs)
    assert len(betas["plateau"]) / plateaus == share(0.5, plateaus) and min(betas["plateau"]) >= 1


def test_the_last_filter_has_the_published_cutoff():
    words = [found[-1].split() for found in steps(replace(NOTHING, final_sinc_prob=1.0), 600)]
    cutoffs = [float(word[-1]) for word in words]
    assert kstest(cutoffs, "uniform", (math.pi / 3, math.pi * 2 / 3)).pvalue > 1e-3
    # A blur's may be lower, where the kernel is large enough.
    blurs = [f[0].split() for f in steps(replace(NOTHING, blur_prob=1.0, sinc_prob=1.0), 600)]
    low = [int(word[1]) for word in blurs if float(word[-1]) < math.pi / 3]
    assert low and min(low) >= 13


def test_steps_come_in_the_published_order_and_number():
    found = steps(REAL, 400)
    rounds = Counter()
    for told in found:
        text = " | ".join(told)
        blurs = [step for step in told if "blur" in step or "sinc" in step]
        # Between the first JPEG and the second resize.
        middle = next(k for k, step in enumerate(told) if "JPEG" in step) + 1
        rounds["second blur"] += told[middle] in blurs
        assert text.count("noise") == 2 and text.count("JPEG") == 2 and text.count(" to ") == 3
        # The last JPEG stands last or before the resize to the final size.
        rounds["JPEG last"] += "JPEG" in told[-1]
        first = [k for k, step in enumerate(told) if "JPEG" in step or "noise" in step]
        assert "noise" in told[first[0]] and "JPEG" in told[first[1]] and first[1] == first[0] + 1
        rounds["gaussian"] += "Gaussian" in told[first[0]]
        rounds["gray"] += "gray" in told[first[0]]
        assert told[0] in blurs
    assert rounds["JPEG last"] / 400 == share(0.5, 400) and rounds["second blur"] / 400 == share(0.8, 400)
    assert rounds["gaussian"] / 400 == share(0.5, 400) and rounds["gray"] / 400 == share(0.4, 400)


def test_sizes_follow_the_published_factors():
    image = np.full((400, 400, 3), 128, np.uint8)
    both = [
        [int(s.split("x")[-1]) for s in told if " to " in s] for told in steps(NOTHING_BUT_SIZES, 300, image)
    ]
    first, second = np.array([b[0] for b in both]), np.array([b[1] for b in both])
    for sizes, whole, (up, down, keep), (least, greatest) in (
        (first, 400, (0.2, 0.7, 0.1), (0.15, 1.5)),
        (second, 100, (0.3, 0.4, 0.3), (0.3, 1.2)),
    ):
        assert (sizes > whole).mean() == share(up, 300) and (sizes < whole).mean() == share(down, 300)
        assert (sizes == whole).mean() == share(keep, 300)
        smaller = sizes[sizes < whole] / whole
        assert kstest(smaller, "uniform", (least, 1 - least)).pvalue > 1e-3
        assert greatest - 0.1 < sizes.max() / whole <= greatest
    assert all(b[2] == 100 for b in both)


NOTHING_BUT_SIZES = replace(
    NOTHING, resize_prob=REAL.resize_prob, resize_prob2=REAL.resize_prob2, resize_modes=REAL.resize_modes
)


# Each step against its formula.


def test_kernels_follow_their_formulas():
    """Pixel by pixel from the density, in rotated coordinates."""
    for shape, beta in (("gaussian", 1.0), ("generalized", 0.6), ("plateau", 1.7)):
        size, first, second, angle = 9, 1.3, 2.4, 0.4
        expected = np.empty((size, size))
        for y in range(size):
            for x in range(size):
                dx, dy = x - 4, y - 4
                u = dx * math.cos(angle) + dy * math.sin(angle)
                v = -dx * math.sin(angle) + dy * math.cos(angle)
                d = (u / first) ** 2 + (v / second) ** 2
                expected[y, x] = 1 / (1 + d**beta) if shape == "plateau" else math.exp(-(d**beta) / 2)
        found = make_kernel(shape, size, first, second, angle, beta)
        np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9)


@pytest.mark.parametrize("cutoff", [math.pi / 3, 2.0, math.pi])
def test_a_sinc_passes_what_lies_below_its_cutoff(cutoff):
    response = np.abs(np.fft.fft2(make_sinc(21, cutoff), (210, 210)))
    frequency = np.fft.fftfreq(210) * 2 * math.pi
    radius = np.hypot(frequency[:, None], frequency[None])
    assert response[radius < 0.6 * cutoff].min() > 0.85 and response[0, 0] == pytest.approx(1)
    beyond = response[(radius > 1.4 * cutoff) & (radius < math.pi)]
    assert beyond.size == 0 or beyond.max() < 0.15


def test_a_blur_is_the_kernels_correlation_with_mirrored_borders(hr):
    """A Gaussian of known width, against SciPy's own filter."""
    mix = replace(NOTHING, blur_prob=1.0, blur_sigma=(2.0, 2.0), sinc_prob=0.0, kernel_size=(21, 21))
    mix = replace(mix, kernel_prob=(1, 0, 0, 0, 0, 0))
    blurred = scipy.ndimage.gaussian_filter(hr.astype(float), (2, 2, 0), mode="mirror", radius=(10, 10, 0))
    expected = blurred.reshape(24, 4, 24, 4, 3).mean((1, 3))
    assert np.abs(degrade(hr, 4, rng(), mix) - expected).max() <= 0.51
    # The second round's is on the LR image.
    second = replace(mix, blur_prob=0.0, blur_prob2=1.0, blur_sigma2=(0.8, 0.8))
    late = scipy.ndimage.gaussian_filter(hr.astype(float), (0.8, 0.8, 0), mode="mirror", radius=(10, 10, 0))
    assert np.abs(degrade(hr, 4, rng(), second) - late.reshape(24, 4, 24, 4, 3).mean((1, 3))).max() <= 0.51


@pytest.mark.parametrize("gray", [0.0, 1.0])
@pytest.mark.parametrize("second", [False, True])
def test_gaussian_noise_has_its_standard_deviation(gray, second):
    name = "2" if second else ""
    mix = replace(NOTHING, **{f"noise_prob{name}": 1.0, f"noise_range{name}": (12.0, 12.0)})
    mix = replace(mix, gaussian_noise_prob=1.0, gray_noise_prob=gray)
    # At scale 1 nothing is averaged away.
    noise = degrade(np.full((96, 96, 3), 128, np.uint8), 1, rng(), mix).astype(float) - 128
    assert noise.std() == pytest.approx(12, rel=0.03) and abs(noise.mean()) < 0.5
    spread = np.ptp(noise, axis=2)
    assert (spread == 0).all() if gray else spread.mean() > 10


def test_poisson_noise_has_the_variance_of_its_photons():
    """Variance is the mean over the number of photons of white: 256 for 200 levels, 2 for 2."""
    ramp = np.tile(np.arange(200, dtype=np.float32) / 255, (2000, 1))[..., None]
    noise = poisson_noise(ramp, rng())
    variances = noise[..., 0].var(0)
    np.testing.assert_allclose(variances[20:], ramp[0, 20:, 0] / 256, rtol=0.25)
    assert abs(noise.mean()) < 1e-3
    two = np.where(np.arange(40000) % 2, 0.2, 0.8).astype(np.float32).reshape(200, 200, 1)
    assert poisson_noise(two, rng())[two > 0.5].var() == pytest.approx(0.8 / 2, rel=0.05)
    mix = replace(NOTHING, noise_prob=1.0, gaussian_noise_prob=0.0, poisson_scale_range=(0.5, 0.5))
    level = np.full((96, 96, 3), 100, np.uint8)
    level[..., ::2, :] = 101
    found = degrade(level, 1, rng(), replace(mix, gray_noise_prob=0.0)).astype(float)
    assert found.std() == pytest.approx(255 * 0.5 * math.sqrt(100.5 / 255 / 2), rel=0.2)


def test_jpeg_is_pillows(hr):
    """Of the LR image, at the quality that was told."""
    mix = replace(NOTHING, jpeg_prob2=1.0, jpeg_range2=(35.0, 40.0))
    told = []
    found = degrade(hr, 4, rng(3), mix, told.append)
    (quality,) = [int(step.split()[1]) for step in told if "JPEG" in step]
    buffer = io.BytesIO()
    Image.fromarray(degrade(hr, 4, rng(), NOTHING)).save(buffer, "JPEG", quality=quality)
    assert 35 <= quality <= 40 and np.array_equal(found, np.asarray(Image.open(buffer)))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_do_what_they_are_named_for(preset):
    text = [" | ".join(found) for found in steps(make_degradation(preset), 60)]
    assert any("noise" in t for t in text) == (preset != "web")
    assert any("blur" in t for t in text) and any("JPEG" in t for t in text)
    qualities = [int(word.split()[0]) for t in text for word in t.split("JPEG ")[1:]]
    assert (min(qualities) >= 80) == (preset == "camera")


def test_a_share_of_clean_pairs_keeps_its_lr(hr):
    lr = degrade(hr, 4, rng(), NOTHING)
    mix = replace(REAL, clean=0.3)
    kept = [draw_lr(lr, hr, rng(seed), mix) is lr for seed in range(300)]
    assert np.mean(kept) == share(0.3, 300)
    assert not any(draw_lr(lr, hr, rng(seed), REAL) is lr for seed in range(20))


# Training.


def test_training_on_degraded_images_runs_and_repeats(photos, tmp_path):
    options = {"steps": 3, "crop": 32, "batch": 2, "model": "srgan_tiny", "strategy": "pretrain"}
    runs = [
        srkd.train(str(photos), out=str(tmp_path / str(number)), degradation=kind, **options)
        for number, kind in enumerate(("real", {"preset": "real"}, "none", "web", {"clean": 1.0}))
    ]
    weights = [run.weights["pretrain"].read_bytes()[-1000:] for run in runs]
    assert weights[0] == weights[1] and len(set(weights)) == 3 and weights[2] == weights[4]
    assert runs[0].psnr == runs[1].psnr and runs[2].psnr == runs[4].psnr
    info = [srkd.load_generator(run.weights["pretrain"]).info["degradation"] for run in runs]
    assert info == ["real", "real", "none", "web", {"preset": "real", "clean": 1.0}]


def test_torch_is_left_as_it_was(hr):
    state = torch.get_rng_state()
    degrade(hr, 4, rng(), REAL)
    assert torch.equal(torch.get_rng_state(), state)
