"""Image files of every kind are read."""

import numpy as np
import pytest
from conftest import PROFILE, bicubic
from PIL import Image

from srkd.images.reading import read_image, read_photo


def test_orientation_gray_and_sixteen_bit_are_read(tmp_path):
    image = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(5, 12))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").shape == (12, 5, 3)
    Image.fromarray((np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)).save(tmp_path / "deep.png")
    deep = read_image(tmp_path / "deep.png")
    assert deep.dtype == np.uint8 and deep.max() == round(63000 / 257)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes(tmp_path, photo, mode):
    source = tmp_path / ("in.tif" if mode == "CMYK" else "in.png")
    Image.fromarray(photo).convert(mode).save(source)
    with Image.open(bicubic(source, tmp_path / "out.png")) as out:
        kept = {"1": "L", "P": "RGB", "CMYK": "RGB"}
        assert out.mode == kept.get(mode, mode)
        assert out.size == (320, 240)


def test_cmyk_is_converted_by_its_profile(tmp_path, photo):
    """Without one that Pillow's naive way would differ from; here the profile is damaged, and ignored."""
    Image.fromarray(photo).convert("CMYK").save(
        tmp_path / "in.jpg", icc_profile=b"no profile" * 20, quality=95
    )
    found = read_photo(tmp_path / "in.jpg")
    assert found.icc is None
    assert np.abs(found.pixels.astype(int) - photo).mean() < 4


def test_a_gray_profile_goes_with_gray_alone(tmp_path, photo):
    gray = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    Image.fromarray(photo).save(tmp_path / "colour.png", icc_profile=gray)
    Image.fromarray(photo).convert("L").save(tmp_path / "gray.png", icc_profile=gray)
    assert read_photo(tmp_path / "colour.png").icc is None
    assert read_photo(tmp_path / "gray.png").icc == gray


def test_the_second_picture_of_a_phone_is_passed_over(tmp_path, photo):
    image = Image.fromarray(photo)
    image.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[image.resize((20, 15))])
    with Image.open(bicubic(tmp_path / "phone.jpg", tmp_path / "out.jpg")) as out:
        assert out.size == (320, 240) and getattr(out, "n_frames", 1) == 1
