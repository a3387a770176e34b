"""Artefact measures on pictures whose artefacts are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srkd import UsageError
from srkd.losses.functional import grid_pattern
from srkd.metrics.artefacts import flat_noise, halo, largest_tint, lattice, tint, to_gray

MEASURES = {
    "halo": halo,
    "flat-noise": flat_noise,
    "lattice": lambda sr, hr: lattice(sr, hr, 4),
    "tint": tint,
    "tint-largest": largest_tint,
}


def fill(value, side=96) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


@pytest.fixture
def step() -> np.ndarray:
    """100 to the left of column 48, 200 from there on."""
    image = fill(100)
    image[:, 48:] = 200
    return image


def add(image, values) -> np.ndarray:
    result = image + values
    assert result.min() >= 0 and result.max() <= 255
    return result.astype(np.uint8)


def columns(start, stop, value) -> np.ndarray:
    values = np.zeros((96, 96, 1), int)
    values[:, start:stop] = value
    return values


@pytest.mark.parametrize("name", MEASURES)
def test_equal_images_have_none(name, step):
    assert MEASURES[name](step, step) == 0


@pytest.mark.parametrize("name", MEASURES)
def test_all_turn_with_the_image(name, step):
    noise = np.random.default_rng(0).integers(-9, 10, step.shape)
    sr = add(step, noise + np.tile([5, 0, 0, -5], 24)[None, :, None])
    found = MEASURES[name](sr, step)
    assert found > 0
    for turn in (np.fliplr, np.flipud, lambda image: image.swapaxes(0, 1)):
        assert MEASURES[name](turn(sr), turn(step)) == pytest.approx(found)


def test_halo_is_the_overshoot_near_edges(step):
    # 3x3 pixels span the step from columns 47 and 48; 8 further are 39 and 56.
    zone = 18
    assert halo(add(step, columns(48, 51, 20)), step) == pytest.approx(20 * 3 / zone)
    assert halo(add(step, columns(45, 48, -12)), step) == pytest.approx(12 * 3 / zone)
    # Of one channel of three.
    assert halo(add(step, columns(48, 51, 20) * [1, 0, 0]), step) == pytest.approx(20 / zone)


def test_a_blurred_edge_is_no_halo(step):
    assert halo(add(step, columns(46, 48, 30) - columns(48, 50, 30)), step) == 0


def test_halo_ends_eight_pixels_from_the_edge(step):
    assert halo(add(step, columns(57, 96, 20) - columns(0, 39, 20)), step) == 0
    assert halo(add(step, columns(56, 57, 20)), step) > 0


def test_halo_needs_a_strong_edge(step):
    weak = add(step, -columns(48, 96, 37))
    assert halo(weak, weak) is None
    assert halo(add(step, -columns(48, 96, 36)), add(step, -columns(48, 96, 36))) == 0


def test_flat_noise_is_the_deviation_on_flat_ground():
    rng = np.random.default_rng(0)
    hr = fill(128)
    hr[48:] = rng.integers(0, 256, hr[48:].shape)
    noise = rng.choice([-7, 7], hr.shape)
    noise[44:] = 0  # 45 rows are flat: the windows of the last three before row 48 reach into the texture
    assert flat_noise(add(hr, noise), hr) == pytest.approx(7 * np.sqrt(44 / 45), rel=0.01)
    # Neither what happens on texture counts, nor a constant shift, of each channel its own.
    noisy = fill(128)
    noisy[:45] += np.array([5, 0, 9], np.uint8)
    assert flat_noise(noisy, hr) == 0


def test_flat_noise_is_the_root_mean_square_of_the_channels():
    noise = np.random.default_rng(0).choice([-1, 1], (96, 96, 1)) * [3, 4, 12]
    assert flat_noise(add(fill(128), noise), fill(128)) == pytest.approx(13 / np.sqrt(3), rel=0.01)


def test_no_flat_ground_no_measure(step):
    texture = np.random.default_rng(0).integers(0, 256, step.shape).astype(np.uint8)
    assert flat_noise(texture, texture) is None
    assert lattice(texture, texture, 4) is None
    # 17 x 15 pixels are one short of the 256.
    texture[:20, :18] = 128
    assert flat_noise(texture, texture) is None
    texture[:22, :19] = 128
    assert flat_noise(texture, texture) == 0


@pytest.mark.parametrize("channel", range(3))
def test_flat_is_flat_in_every_channel(channel):
    texture = fill(128)
    texture[..., channel] = np.random.default_rng(0).integers(0, 256, texture.shape[:2])
    assert flat_noise(texture, texture) is None
    assert lattice(texture, texture, 4) is None


def test_flat_is_under_one_level():
    stripes = fill(128)
    stripes[:, ::2] += 1  # deviation of half a level
    assert flat_noise(stripes, stripes) == lattice(stripes, stripes, 4) == 0
    stripes[:, ::2] += 2  # a level and a half
    assert flat_noise(stripes, stripes) is None and lattice(stripes, stripes, 4) is None


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("amplitude", [1, 6])
def test_a_lattice_has_its_amplitude(scale, amplitude):
    row = amplitude * (-1) ** np.arange(scale)
    period = row[None] * np.ones((scale, 1)) if scale % 2 == 0 else np.eye(scale) * amplitude
    grid = np.tile(period, (96 // scale, 96 // scale))[..., None]
    expected = amplitude if scale % 2 == 0 else amplitude * np.sqrt(2) / 3
    assert lattice(add(fill(128), grid), fill(128), scale) == pytest.approx(expected)


def test_a_lattice_is_of_the_period_alone():
    four, eight = (
        add(fill(128), np.where(np.arange(96) // half % 2, -5, 5)[None, :, None]) for half in (2, 4)
    )
    assert lattice(four, fill(128), 4) == pytest.approx(5)
    assert lattice(eight, fill(128), 4) == 0
    assert lattice(four, fill(128), 1) is None


def test_noise_is_no_lattice_and_hides_none():
    rng = np.random.default_rng(0)
    noise = np.rint(rng.normal(0, 8, (1024, 1024, 3)))
    hr = fill(128, 1024)
    # By chance alone the 4 averages of 16 pixels would deviate by 1.7 levels; what is left is within three
    # standard errors of 0: noise of 8 with a lattice of 2 has 2 +- 0.02.
    for amplitude in (2, 6):
        grid = np.tile([amplitude, -amplitude], 512)[None, :, None]
        assert lattice(add(hr, noise + grid), hr, 2) == pytest.approx(amplitude, abs=0.05)
    assert lattice(add(hr, noise), hr, 2) < 0.25


def test_a_slope_is_no_lattice():
    slope = np.arange(96)[None, :, None]
    assert lattice(add(fill(100), slope), fill(100), 4) == pytest.approx(0, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4]))
def test_a_lattice_is_the_spread_of_the_loss_grids_pattern(seed, scale):
    """On wholly flat ground, without anything but the lattice: root of the mean square of grid_pattern."""
    rng = np.random.default_rng(seed)
    side = 8 * scale
    period = rng.integers(-20, 21, (scale, scale, 3))
    sr = add(fill(128, side), np.tile(period, (8, 8, 1)))
    pattern = grid_pattern(torch.from_numpy(sr).permute(2, 0, 1)[None].double(), scale, 4)
    assert lattice(sr, fill(128, side), scale) == pytest.approx(float(pattern.square().mean().sqrt()))


def test_an_edge_is_no_lattice(step):
    """A blurred edge beside flat ground, which it changes on one side of each square alone."""
    blurred = add(step, columns(48, 54, -30) + columns(42, 48, 30))
    assert lattice(blurred, step, 4) == 0


def test_tint_is_the_spread_between_channels():
    sr = fill(128)
    sr[:48, :, 0] += 10
    sr[0, 0, 2] -= 30
    assert largest_tint(sr, fill(128)) == 40
    assert tint(sr, fill(128)) == pytest.approx((10 * 48 * 96 + 30) / 96**2)
    # Of SR alone: another gray is no tint.
    assert tint(fill(90), fill(128)) == largest_tint(fill(90), fill(128)) == 0


def test_tint_is_for_gray_pictures(photo):
    assert tint(photo, photo) is None and largest_tint(photo, photo) is None
    assert tint(photo, to_gray(photo)) > 1
    assert tint(to_gray(photo), to_gray(photo)) == 0


def test_to_gray(photo):
    gray = to_gray(photo)
    assert gray.dtype == np.uint8 and not np.ptp(gray, axis=2).any()
    np.testing.assert_array_equal(to_gray(gray), gray)
    np.testing.assert_array_equal(
        to_gray(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8))[0, :, 0], [76, 150]
    )


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_misuse(measure):
    image = fill(128)
    for wrong, message in (
        (image[:50], "differ in size"),
        (image / 255, "8-bit"),
        (image[..., 0], "RGB"),
        (image[..., :1], "RGB"),
    ):
        with pytest.raises(UsageError, match=message):
            measure(wrong, image)
        with pytest.raises(UsageError, match=message):
            measure(image, wrong)
