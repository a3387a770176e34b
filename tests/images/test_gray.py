"""Gray pictures that are stored in colour."""

import io

import numpy as np
import pytest
from conftest import deep_png, deep_values
from PIL import Image

import srkd
from srkd.images.photo import Photo
from srkd.images.reading import read_photo
from srkd.images.tensors import is_gray
from srkd.runtimes.runner import Runner
from srkd.upscaling.enlarge import enlarge

LUMA = np.array([0.299, 0.587, 0.114])


def make_gray(photo: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(photo @ LUMA)[..., None], 3, axis=2).astype(np.uint8)


def reopen(image: np.ndarray, format: str, **options) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format, **options)
    return np.asarray(Image.open(stream).convert("RGB"))


@pytest.mark.parametrize("quality", [30, 50, 75, 85, 95])
@pytest.mark.parametrize("noise", [0, 1, 3])
def test_gray_with_the_noise_of_jpeg_is_gray(photo, quality, noise):
    gray = make_gray(photo)
    noisy = gray + np.random.default_rng(quality).normal(0, noise, gray.shape)
    noisy = np.rint(noisy).clip(0, 255).astype(np.uint8)
    found = reopen(noisy, "JPEG", quality=quality, subsampling="4:2:0")
    assert is_gray(found)
    assert is_gray(found.astype(np.uint16) * 257) and is_gray(found.astype(np.float32) / 255)
    assert is_gray(reopen(gray, "WEBP", quality=quality))
    assert not is_gray(reopen(photo, "JPEG", quality=quality, subsampling="4:2:0"))


def test_tints_and_small_colours_are_not_gray(photo):
    gray = make_gray(photo).clip(5, 250)
    for tint in ((1, 0, -1), (4, 0, -4), (0, 0, 1)):
        assert not is_gray((gray + np.array(tint)).astype(np.uint8)), tint
    for place in ((0, 0), (59, 79), (30, 40)):
        dot = gray.copy()
        dot[place] = (200, 100, 50)
        assert not is_gray(dot), place
    patch = gray.copy()
    patch[8:16, 8:16] += np.array((5, 0, 0), np.uint8)
    assert not is_gray(patch)


def tinting(batch: np.ndarray) -> np.ndarray:
    """Nearest neighbours, with other colours in each channel."""
    return batch.repeat(2, 2).repeat(2, 3) + np.array([0.2, 0.0, -0.1], np.float32)[None, :, None, None]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
def test_gray_stays_gray_and_rgb(photo, kind, alpha, tile):
    """The network gets the luma; the mean of its channels is the picture."""
    noisy = make_gray(photo[:40, :56]).astype(int) + np.random.default_rng(0).integers(-1, 2, (40, 56, 3))
    white = 1 if kind == np.float32 else np.iinfo(kind).max
    values = (noisy.clip(0, 255) / 255 * white).astype(kind)
    opacity = np.full((40, 56), white, kind) if alpha else None
    seen = []

    def run(batch):
        seen.append(batch)
        return tinting(batch)

    made = np.asarray(enlarge(Runner("tinting", 2, 2, run), Photo(values, opacity), tile=tile))
    assert made.dtype == kind and made.shape == (80, 112, 4 if alpha else 3)
    assert (np.ptp(made[..., :3], axis=2) == 0).all() and all(np.ptp(b, axis=1).max() == 0 for b in seen)
    expected = ((values / white) @ LUMA).repeat(2, 0).repeat(2, 1)[..., None] + [0.2, 0, -0.1]
    assert np.abs(made[..., 0] / white - expected.mean(2)).max() < 2 / 255
    if alpha:
        assert (made[..., 3] == white).all()


def test_a_little_colour_anywhere_keeps_all_of_it(photo):
    """It is decided for the whole picture, not tile by tile."""
    gray = make_gray(photo[:40, :56])
    gray[0, 0] = (255, 0, 0)
    made = np.asarray(enlarge(Runner("tinting", 2, 2, tinting), Photo(gray), tile=16))
    assert (made[60:, 80:, 0].astype(int) - made[60:, 80:, 2] > 40).any()


def test_sepia_stays_sepia(tmp_path, photo):
    sepia = (make_gray(photo).clip(10, 245) + np.array([3, 0, -3])).astype(np.uint8)
    Image.fromarray(sepia).save(tmp_path / "in.png")
    (out,) = srkd.upscale(tmp_path / "in.png", tmp_path / "out.png", verbose=False)
    found = np.asarray(Image.open(out)).astype(float).reshape(-1, 3).mean(0)
    assert 2 < found[0] - found[1] < 4 and 2 < found[1] - found[2] < 4


@pytest.mark.parametrize("name", ["span_s_psnr", "span_s_gan"])
def test_shipped_weights_do_not_tint_gray(tmp_path, photo, name):
    gray = make_gray(photo)
    Image.fromarray(gray).save(tmp_path / "in.jpg", quality=85)
    deep_png(tmp_path / "in16.png", gray.astype(np.uint16) * 257)
    for source, target in (("in.jpg", "out.png"), ("in16.png", "out16.png")):
        srkd.upscale(tmp_path / source, tmp_path / target, weights=name, verbose=False)
        made = deep_values(tmp_path / target)
        assert made.shape == (240, 320, 3) and np.ptp(made, axis=2).max() == 0
    assert np.ptp(srkd.upscale_image(gray, name), axis=2).max() == 0
    assert np.ptp(np.asarray(srkd.Upscaler(name)(Image.fromarray(gray))), axis=2).max() == 0
    assert np.ptp(srkd.upscale_image(photo, name), axis=2).max() > 0
    # As JPEG in colour, too, it is gray when it is read again.
    srkd.upscale(tmp_path / "in.jpg", tmp_path / "out.jpg", weights=name, verbose=False)
    assert is_gray(read_photo(tmp_path / "out.jpg").pixels)
