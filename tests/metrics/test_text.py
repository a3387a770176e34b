"""The error rate of Tesseract, and what it is made of."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srkd import SrkdError, UsageError
from srkd.images.resample import downscale, upscale_bicubic
from srkd.metrics.text import SIZES, error_rate, read, read_rendered, render_page, tesseract_version, text

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="no tesseract on this machine")
letters = st.text("abc ", max_size=12)


@pytest.mark.parametrize(
    ("found", "truth", "edits"),
    [
        ("kitten", "sitting", 3),
        ("sitting", "kitten", 3),
        ("flaw", "lawn", 2),
        ("", "abc", 3),
        ("abcdef", "abc", 3),
        ("ab", "ba", 2),
        ("one\n two ", " one  two", 0),
        ("onetwo", "one two", 1),
        ("Abc", "abc", 1),
    ],
)
def test_edits(found, truth, edits):
    assert error_rate(found, truth) == pytest.approx(edits / len(truth.strip().replace("  ", " ")))


@given(letters, letters.filter(str.strip), letters.filter(str.strip))
def test_edits_are_a_distance(a, b, c):
    def edits(found, truth):
        return error_rate(found, truth) * len(" ".join(truth.split()))

    assert edits(b, b) == 0
    assert edits(b, c) == pytest.approx(edits(c, b))
    assert edits(a, c) <= edits(a, b) + edits(b, c) + 1e-9
    assert edits(a, b) <= max(len(" ".join(a.split())), len(" ".join(b.split()))) + 1e-9


def test_an_error_rate_needs_a_truth():
    with pytest.raises(UsageError, match="a text to compare with"):
        error_rate("abc", " \n")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pages_fit_the_scale_and_their_text_fits_the_page(scale):
    for size in SIZES:
        page = render_page(size, scale)
        assert page.dtype == np.uint8 and page.shape[0] % scale == page.shape[1] % scale == 0
        np.testing.assert_array_equal(page, render_page(size, scale))
        inside = np.pad(page[2:-2, 2:-2], ((2, 2), (2, 2), (0, 0)), constant_values=255)
        np.testing.assert_array_equal(page, inside)
        assert page.min() < 64


@needs_tesseract
def test_what_is_rendered_is_read():
    assert "quick brown fox" in read(render_page(9, 4)) and "total 89.25" in read(render_page(9, 4))
    assert tesseract_version().startswith("tesseract ")


@needs_tesseract
def test_text_is_against_what_is_read_in_hr():
    page = render_page(6, 4)
    blank = np.full_like(page, 255)
    assert text(page, page) == 0
    assert text(blank, page) == 1
    assert text(page, blank) is None
    blurred = upscale_bicubic(downscale(page, 4), 4)
    assert 0 < text(blurred, page) < text(upscale_bicubic(downscale(page, 8), 8), page)


@needs_tesseract
def test_an_upscaler_on_rendered_pages():
    pages = iter([render_page(size, 4) for size in SIZES])
    assert (
        read_rendered(lambda lr: next(pages), 4).sr == read_rendered(lambda lr: upscale_bicubic(lr, 4), 4).hr
    )
    found = read_rendered(lambda lr: upscale_bicubic(lr, 4), 4)
    assert found.hr < 0.02 and 0.05 < found.sr < 0.5


def test_without_tesseract_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SrkdError, match=r"needs the program tesseract.*apt-get install tesseract-ocr"
    ) as caught:
        text(*[render_page(6, 4)] * 2)
    assert "\n" not in str(caught.value)


@needs_tesseract
def test_without_english_data_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    with pytest.raises(SrkdError, match="with English data; fix") as caught:
        read(render_page(6, 4))
    assert "\n" not in str(caught.value)


def test_misuse():
    page = render_page(6, 4)
    for wrong, message in ((page[:-4], "differ in size"), (page / 255, "8-bit"), (page[..., 0], "RGB")):
        with pytest.raises(UsageError, match=message):
            text(wrong, page)
