"""Sizes in pixels, and textures whose borders meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import srkd
from srkd.errors import UsageError
from srkd.images.photo import Photo
from srkd.runtimes.runner import Runner
from srkd.upscaling.enlarge import enlarge
from srkd.upscaling.opening import open_fastest
from srkd.upscaling.sizes import Size, parse_size

sides = st.integers(1, 400)


@given(sides, sides, st.integers(1, 5000))
def test_one_side_is_exact_and_the_other_keeps_the_shape(height, width, wanted):
    if wanted <= 64 * min(height, width) * min(1, height / width, width / height):
        made = Size(width=wanted).of(height, width, 4)
        assert (made[1] == wanted and abs(made[0] - height * wanted / width) <= 0.5) or made[0] == 1
        made = Size(height=wanted).of(height, width, 4)
        assert (made[0] == wanted and abs(made[1] - width * wanted / height) <= 0.5) or made[1] == 1


@given(sides, sides, st.integers(1, 4000), st.integers(1, 4000))
def test_a_result_touches_its_box_and_stays_inside(height, width, wide, tall):
    if max(wide / width, tall / height) <= 64:
        made = Size(fit=(wide, tall)).of(height, width, 4)
        assert made[0] <= tall and made[1] <= wide and (made[0] == tall or made[1] == wide)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be a whole number of pixels above 0, not 0"),
        ({"height": 2.5}, "height must be a whole number of pixels above 0, not 2.5"),
        ({"fit": "3840"}, "fit must be width x height in pixels, as 3840x2160, not '3840'"),
        ({"fit": "3840x0"}, "fit must be width x height in pixels, as 3840x2160, not '3840x0'"),
        ({"width": 8, "height": 9}, "--width and --height together may distort; give one, or --fit 8x9"),
        ({"scale": 2, "fit": "8x9"}, "--scale and --fit each say how large the result is; give one of them"),
    ],
)
def test_wrong_sizes_are_one_line(options, message, tmp_path):
    with pytest.raises(UsageError) as raised:
        parse_size(**options)
    assert str(raised.value) == message


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for name, size in {"small": (20, 30), "tall": (40, 10), "large": (200, 300)}.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / "in" / f"{name}.png")
    return tmp_path


def sizes(out):
    return {path.stem: Image.open(path).size for path in out.glob("*.png")}


def test_a_folder_fits_into_a_box(folder, capsys):
    srkd.upscale(folder / "in", folder / "out", fit="240x120")
    assert sizes(folder / "out") == {"small": (180, 120), "tall": (30, 120), "large": (180, 120)}
    said = " ".join(capsys.readouterr().out.split())
    assert "as large already, so resampled without the network: large.png" in said
    assert "upscaled 3 images to fit 240x120 with span_s_psnr" in said
    # Another size is another job; the same is done.
    srkd.upscale(folder / "in", folder / "out", fit="240x120")
    assert "were upscaled before" in capsys.readouterr().out
    with pytest.raises(UsageError, match="exists; replace it with --overwrite"):
        srkd.upscale(folder / "in", folder / "out", width=200)


def test_width_and_height_are_exact(folder):
    srkd.upscale(folder / "in", folder / "out", width=101)
    assert {size[0] for size in sizes(folder / "out").values()} == {101}
    with pytest.raises(srkd.SrkdError, match=r"small.png: 30x20 would become 6000x4000, more than 64 times"):
        srkd.upscale(folder / "in" / "small.png", folder / "x.png", height=4000)
    assert not (folder / "x.png").exists()


def texture(height=19, width=27, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("size", [Size(), Size(3), Size(1.5), Size(width=40)])
@pytest.mark.parametrize("tile", [0, 16])
def test_a_seamless_texture_may_begin_anywhere(size, tile):
    """Rolled before or after, it is the same: no border is left in it."""
    model = open_fastest("span_s_psnr")
    image, shift = texture(20, 40), (4, 8)

    def large(pixels):
        # Of what is wholly transparent no colour is kept.
        alpha = np.where(pixels[..., 0] > 50, 255, 90).astype(np.uint8)
        return np.asarray(enlarge(model, Photo(pixels, alpha), size=size, tile=tile, seamless=True))

    made = large(image)
    factor = made.shape[1] / image.shape[1]
    rolled = large(np.roll(image, shift, (0, 1)))
    again = np.roll(made, [round(n * factor) for n in shift], (0, 1)).astype(int)
    assert np.abs(rolled - again)[..., :3].max() <= 1
    plain = np.asarray(enlarge(model, Photo(image), size=size, tile=tile))
    assert plain.shape[:2] == made.shape[:2]


def test_the_middle_of_a_seamless_texture_is_that_of_the_image():
    model = Runner("box", 2, 3, lambda batch: batch.repeat(2, 2).repeat(2, 3))
    image = texture(5, 4)
    for seamless in (False, True):
        made = np.asarray(enlarge(model, Photo(image), seamless=seamless))
        assert np.array_equal(made, image.repeat(2, 0).repeat(2, 1))


def test_the_command_takes_a_seamless_texture(tmp_path):
    Image.fromarray(texture()).save(tmp_path / "t.png")
    for name, seamless in (("plain", False), ("meets", True)):
        srkd.upscale(tmp_path / "t.png", tmp_path / f"{name}.png", seamless=seamless)
    made = {name: np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("plain", "meets")}
    seams = {
        name: np.abs(x[0] - x[-1]).mean() + np.abs(x[:, 0] - x[:, -1]).mean() for name, x in made.items()
    }
    assert made["plain"].shape == made["meets"].shape == (76, 108, 3)
    assert seams["meets"] < seams["plain"]
