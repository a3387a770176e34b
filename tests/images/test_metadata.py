"""Orientation, profile, EXIF and resolution from the source to the result."""

import numpy as np
import pytest
from conftest import PROFILE, bicubic
from PIL import Image, ImageOps

from srkd.images.formats import FORMATS
from srkd.images.reading import read_image, read_photo
from srkd.images.writing import write_photo


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied_once(tmp_path, photo, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    source = tmp_path / f"in{suffix}"
    Image.fromarray(photo).save(source, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(source)).convert("RGB"))
    assert np.array_equal(read_image(source), expected)
    with Image.open(bicubic(source, tmp_path / f"out{suffix}")) as out:
        assert out.size == (expected.shape[1] * 4, expected.shape[0] * 4)
        found = out.getexif()
        assert found.get(0x0112, 1) == 1 and found[0x010F] == "Maker"
        # Pillow writes no second directory into compressed TIFFs.
        taken = None if suffix == ".tif" else "2024:01:02 03:04:05"
        assert found.get_ifd(0x8769).get(0x9003) == taken


@pytest.mark.parametrize("suffix", FORMATS)
def test_profile_exif_and_resolution_are_carried_over(tmp_path, photo, suffix):
    exif = Image.Exif()
    exif[0x013B] = "Someone"
    Image.fromarray(photo).save(tmp_path / "in.png", icc_profile=PROFILE, exif=exif, dpi=(300, 150))
    with Image.open(bicubic(tmp_path / "in.png", tmp_path / f"out{suffix}")) as out:
        carried = {
            "icc": out.info.get("icc_profile") == PROFILE,
            "exif": out.getexif().get(0x013B) == "Someone",
            "dpi": np.allclose(out.info.get("dpi", 0), (300, 150), atol=0.1),
        }
    # What the formats have no place for, by their own definitions or by Pillow's.
    absent = {".bmp": {"icc", "exif"}, ".webp": {"dpi"}, ".avif": {"dpi"}}.get(suffix, set())
    assert {key for key, there in carried.items() if not there} == absent


def test_sixteen_bits_carry_profile_exif_and_resolution(tmp_path, photo):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    plain = tmp_path / "plain.png"
    Image.fromarray(photo).save(plain, icc_profile=PROFILE, exif=exif, dpi=(300, 300))
    like = read_photo(plain)
    for suffix in (".png", ".tif"):
        path = tmp_path / f"deep{suffix}"
        write_photo(path, photo.astype(np.uint16) * 257, like)
        with Image.open(bicubic(path, tmp_path / f"out{suffix}")) as out:
            assert ";16" in str(out.tile[0].args) and out.info["icc_profile"] == PROFILE
            assert np.allclose(out.info["dpi"], 300, atol=0.1)
            assert out.getexif()[0x010F] == "Maker"
