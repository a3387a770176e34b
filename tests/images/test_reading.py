"""Image files of every kind are read, by several threads at once."""

import threading
import warnings

import numpy as np
import pytest
import tifffile
from conftest import PROFILE, bicubic, deep_png
from PIL import Image

from srkd import SrkdError
from srkd.images.reading import measure, read_image, read_photo


def test_orientation_gray_and_sixteen_bit_are_read(tmp_path):
    image = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(5, 12))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").shape == (12, 5, 3)
    Image.fromarray((np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)).save(tmp_path / "deep.png")
    deep = read_image(tmp_path / "deep.png")
    assert deep.dtype == np.uint8 and deep.max() == round(63000 / 257)


@pytest.mark.parametrize("content", [b"", b"hi", b"\x89PN", b"a text that somebody called .png"])
def test_what_is_no_image(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(SrkdError, match=r"x\.png is not an image that can be read \(is it really \.png\?\)"):
        read_image(tmp_path / "x.png")


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
    assert found.about.icc is None
    assert np.abs(found.pixels.astype(int) - photo).mean() < 4


def test_a_gray_profile_goes_with_gray_alone(tmp_path, photo):
    gray = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    Image.fromarray(photo).save(tmp_path / "colour.png", icc_profile=gray)
    Image.fromarray(photo).convert("L").save(tmp_path / "gray.png", icc_profile=gray)
    assert read_photo(tmp_path / "colour.png").about.icc is None
    assert read_photo(tmp_path / "gray.png").about.icc == gray


def test_the_second_picture_of_a_phone_is_passed_over(tmp_path, photo):
    image = Image.fromarray(photo)
    image.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[image.resize((20, 15))])
    with Image.open(bicubic(tmp_path / "phone.jpg", tmp_path / "out.jpg")) as out:
        assert out.size == (320, 240) and getattr(out, "n_frames", 1) == 1


def test_threads_change_nothing_of_the_process(tmp_path, photo):
    """Neither Pillow's limit nor the filters of warnings, while images are read or when they are."""
    paths = []
    for number, suffix in enumerate(("png", "jpg", "webp", "tif", "bmp") * 8):
        paths.append(tmp_path / f"{number}.{suffix}")
        Image.fromarray(photo[: 20 + number]).save(paths[-1])
    (tmp_path / "0.png").write_text("not an image")
    deep_png(tmp_path / "5.png", photo.astype(np.uint16) * 257)
    (tmp_path / "6.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:400])
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning
    seen, results = set(), {}

    def work(thread):
        for index, path in enumerate(paths):
            try:
                results[thread, index] = read_photo(path).pixels.shape
            except SrkdError as error:
                results[thread, index] = str(error)
            seen.add((Image.MAX_IMAGE_PIXELS, len(warnings.filters)))
            measure(path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160 and seen == {(before[0], len(before[1]))}
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning) == before
    for index in range(40):
        assert len({results[thread, index] for thread in range(4)}) == 1
    failed = {index: text for (_, index), text in results.items() if isinstance(text, str)}
    assert failed.keys() == {0, 6} and "is not an image" in failed[0] and "is damaged" in failed[6]


@pytest.mark.parametrize("name", ["x.png", "deep.png", "gray.png", "x.tif", "lzw.tif"])
def test_pillows_limit_does_not_count(tmp_path, photo, monkeypatch, name):
    deep = {"deep.png": photo.astype(np.uint16) * 257, "gray.png": photo[..., 0].astype(np.uint16) * 257}
    if name in deep:
        deep_png(tmp_path / name, deep[name])
    else:
        options = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
        Image.fromarray(photo).save(tmp_path / name, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo(tmp_path / name).pixels.shape == photo.shape


def test_whatever_a_decoder_raises_is_one_line(tmp_path, photo, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "x.png")
    for error in (TypeError("of\ntwo lines"), KeyError("x"), RecursionError(), MemoryError()):

        def fail(*_, error=error, **__):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "convert", fail)
            with pytest.raises(SrkdError, match=r"x\.png (is damaged|does not fit)") as raised:
                read_photo(tmp_path / "x.png")
        assert "\n" not in str(raised.value)


def test_deep_cmyk_is_colour_and_not_transparency(tmp_path, photo):
    cmyk = np.asarray(Image.fromarray(photo).convert("CMYK")).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "x.tif", cmyk, photometric="separated")
    found = read_photo(tmp_path / "x.tif")
    assert found.alpha is None and np.abs(found.pixels.astype(int) - photo).mean() < 4
