"""HEIC and JPEG XL, which extras read."""

import sys

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from conftest import PROFILE, bicubic
from PIL import Image

import srkd
from srkd.images.extras import measure_jxl
from srkd.images.folders import list_images
from srkd.images.reading import read_image, read_photo

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """A picture that lossy formats keep well, `(24, 40, 3)`."""
    y, x = np.mgrid[:24, :40]
    return np.stack([x * 6, y * 9, 255 - x * 3 - y * 5], 2).astype(np.uint8)


@pytest.fixture(autouse=True)
def _writers():
    pillow_heif.register_heif_opener()
    import pillow_jxl  # noqa: F401  # registers itself


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    return exif.tobytes()


@pytest.mark.parametrize("suffix", [".heic", ".jxl"])
def test_they_are_read_with_what_they_say(tmp_path, smooth, suffix):
    options = {"xmp": XMP, "exif": exif_of(6), "icc_profile": PROFILE, "quality": 95}
    Image.fromarray(smooth).save(tmp_path / f"in{suffix}", **options)
    assert list_images(tmp_path) == [tmp_path / f"in{suffix}"]
    # HEIC's writer makes EXIF's orientation one of the format's own; JPEG XL's viewers pass EXIF's over.
    upright = np.rot90(smooth, -1) if suffix == ".heic" else smooth
    photo = read_photo(tmp_path / f"in{suffix}")
    assert np.abs(photo.pixels.astype(int) - upright).mean() < 4
    (out,) = srkd.upscale([tmp_path], tmp_path / "out", weights="bicubic", scale=1)
    assert out == tmp_path / "out" / "in.png"
    with Image.open(out) as image:
        exif = image.getexif()
        assert (exif[0x010F], exif.get(0x0112, 1)) == ("Maker", 1)
        assert exif.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
        assert image.info["icc_profile"]
        xmp = image.info["xmp"]
        assert xmp.startswith(b"<x:xmpmeta") and b"<r " in xmp and b'Orientation="6"' not in xmp


@pytest.mark.parametrize("suffix", [".heic", ".jxl"])
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_gray_and_alpha(tmp_path, smooth, suffix, mode):
    image = Image.fromarray(smooth).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(smooth[..., 0]))
    image.save(tmp_path / f"in{suffix}", quality=95)
    with Image.open(bicubic(tmp_path / f"in{suffix}", tmp_path / "out.png")) as out:
        assert out.mode == mode
    alpha = read_photo(tmp_path / f"in{suffix}").alpha
    assert (alpha is None) == (mode == "L")
    if alpha is not None:
        assert np.abs(alpha.astype(int) - smooth[..., 0]).mean() < 4


def test_more_than_eight_bits(tmp_path, smooth):
    values = smooth.astype(np.uint16) * 257 + 60
    (tmp_path / "in.jxl").write_bytes(imagecodecs.jpegxl_encode(values, lossless=True))
    assert np.array_equal(read_photo(tmp_path / "in.jxl").pixels, values)
    heif = pillow_heif.from_bytes("RGB;16", (40, 24), values.tobytes())
    heif.save(tmp_path / "in.heic", quality=100, chroma=444)
    found = read_photo(tmp_path / "in.heic").pixels
    assert found.dtype == np.uint16 and np.abs(found.astype(int) - values).mean() < 700


def test_what_jpeg_xl_holds_and_is_no_photograph(tmp_path, smooth, fails):
    values = (smooth / 255).astype(np.float32)
    (tmp_path / "f.jxl").write_bytes(imagecodecs.jpegxl_encode(values, lossless=True))
    error = fails(1, "upscale", tmp_path / "f.jxl", "-o", tmp_path / "x.png", "-w", "bicubic")
    assert "floating-point values" in error


def test_colours_that_heic_states_by_numbers(tmp_path, smooth):
    """Display P3 without a profile: PNG has a chunk for it, JPEG gets a profile."""
    image = pillow_heif.from_pillow(Image.fromarray(smooth))
    options = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6}
    image.save(tmp_path / "in.heic", full_range_flag=1, save_nclx_profile=True, **options)
    assert b"cICP\x0c\x0d\0\x01" in bicubic(tmp_path / "in.heic", tmp_path / "out.png").read_bytes()
    with Image.open(bicubic(tmp_path / "in.heic", tmp_path / "out.jpg")) as out:
        assert out.info["icc_profile"]


@pytest.mark.parametrize(
    ("suffix", "module", "words"),
    [
        (".heic", "pillow_heif", "is HEIC, which srkd[heif] reads: pip install 'srkd[heif]'"),
        (".jxl", "pillow_jxl", "is JPEG XL, which srkd[jxl] reads: pip install 'srkd[jxl]'"),
    ],
)
def test_without_its_extra_the_extra_is_named(tmp_path, smooth, monkeypatch, fails, suffix, module, words):
    Image.fromarray(smooth).save(tmp_path / f"in{suffix}", quality=90)
    monkeypatch.setitem(sys.modules, module, None)
    error = fails(1, "upscale", tmp_path / f"in{suffix}", "-o", tmp_path / "x.png", "-w", "bicubic")
    assert error.endswith(words)


def test_avif_is_none_of_them(tmp_path, smooth):
    Image.fromarray(smooth).save(tmp_path / "in.avif")
    assert read_image(tmp_path / "in.avif").shape == smooth.shape


@pytest.mark.parametrize(
    "size", [(8, 8), (16, 256), (300, 200), (1, 1), (8193, 3), (1600, 900), (640, 480), (9, 8)]
)
@pytest.mark.parametrize("boxes", [False, True])
def test_sizes_of_jpeg_xl_are_known_before_they_are_decoded(tmp_path, monkeypatch, size, boxes):
    path = tmp_path / "in.jxl"
    Image.new("RGB", size, (9, 99, 200)).save(
        path, **({"exif": exif_of(1)} if boxes else {"use_container": False})
    )
    assert (path.read_bytes()[:2] == b"\xff\x0a") != boxes
    with path.open("rb") as file:
        assert measure_jxl(file) == size
    monkeypatch.setattr("pillow_jxl.JpegXLImagePlugin.Decoder", lambda **_: pytest.fail("it was decoded"))
    if size[0] * size[1] > 1000:
        with pytest.raises(srkd.SrkdError, match=rf"declares {size[0]}x{size[1]} pixels, more than 0.001"):
            read_photo(path, megapixels=0.001)
