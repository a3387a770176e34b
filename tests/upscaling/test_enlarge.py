"""Alpha, sizes, and images that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from conftest import bicubic, deep_png, deep_values
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

import srkd
from srkd.images.photo import Photo
from srkd.images.reading import read_image
from srkd.images.resample import resize
from srkd.runtimes.runner import Runner
from srkd.upscaling.enlarge import enlarge


def test_alpha_has_no_dark_fringe(tmp_path, weights):
    """A white disc whose clear surroundings are black, as programs save them, laid on white again."""
    y, x = np.mgrid[:40, :40]
    disc = np.hypot(y - 20, x - 20) < 12
    values = np.zeros((40, 40, 4), np.uint8)
    values[disc] = 255
    Image.fromarray(values).save(tmp_path / "in.png")
    # What the network makes of plain white, since tiny ones do not keep it white.
    Image.fromarray(np.full((40, 40, 3), 255, np.uint8)).save(tmp_path / "plain.png")
    for model in ("bicubic", str(weights)):
        folder = tmp_path / Path(model).stem
        srkd.upscale([str(tmp_path / "in.png"), str(tmp_path / "plain.png")], str(folder), weights=model)
        found = np.asarray(Image.open(folder / "in.png")).astype(int)
        colour, alpha = found[..., :3], found[..., 3]
        assert np.abs(colour - read_image(folder / "plain.png"))[alpha > 0].max() <= 1
        assert (alpha[np.hypot(*(np.mgrid[:160, :160] - 81.5)) < 40] == 255).all() and (alpha[:30] == 0).all()


def test_formats_without_alpha_get_a_white_ground(tmp_path):
    values = np.zeros((10, 10, 4), np.uint8)
    Image.fromarray(values).save(tmp_path / "clear.png")
    assert (read_image(bicubic(tmp_path / "clear.png", tmp_path / "out.jpg")) == 255).all()


@pytest.mark.parametrize("scale", [0.5, 1, 2, 2.5, 3, 4, 6])
@pytest.mark.parametrize("deep", [False, True])
def test_any_size(tmp_path, photo, scale, deep):
    source = deep_png(tmp_path / "in.png", photo.astype(np.uint16) * 257 if deep else photo)
    found = deep_values(bicubic(source, tmp_path / "out.png", scale=scale)) / (257 if deep else 1)
    assert found.shape == (round(60 * scale), round(80 * scale), 3)
    expected = resize(photo.astype(float), found.shape[:2])
    assert np.abs(found - expected).mean() < 4


def test_a_picture_that_does_not_fit_into_memory(tmp_path, photo, monkeypatch, fails):
    def full(*_):
        raise MemoryError

    Image.fromarray(photo).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "new", full)
    words = ["upscale", tmp_path / "x.png", "-o", tmp_path / "y.png", "-w", "bicubic"]
    assert "does not fit into memory" in fails(1, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_alpha_stays_between_its_neighbours(kind):
    """A network that overshoots gives the least and the greatest of the 3x3 pixels around each."""
    white = 1 if kind == np.float32 else np.iinfo(kind).max
    alpha = (np.random.default_rng(0).random((13, 17)) * white).astype(kind)
    alpha[4:9, 5:9] = white
    pixels = np.zeros((13, 17, 3), kind)
    filters = {-9.0: minimum_filter, 9.0: maximum_filter}
    for level, filtered in filters.items():

        def run(batch, level=level):
            return np.full_like(batch, level).repeat(2, 2).repeat(2, 3)

        model = Runner("far", 2, 1, run)
        found = np.asarray(enlarge(model, Photo(pixels, alpha)))[..., -1]
        expected = filtered(alpha, 3, mode="nearest").repeat(2, 0).repeat(2, 1)
        assert found.dtype == kind and np.allclose(found, expected, atol=1e-6)
