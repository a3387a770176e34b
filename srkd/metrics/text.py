"""How well a machine reads small text after upscaling: Tesseract's character error rate."""

import os
import subprocess
import textwrap
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np

from srkd.errors import SrkdError, UsageError, first_line
from srkd.images.resample import downscale
from srkd.metrics.scores import check_rgb

INSTALL = (
    "the measure `text` needs the program tesseract with English data; fix: apt-get install tesseract-ocr, "
    "brew install tesseract or choco install tesseract"
)
# Font sizes, in LR pixels, of the pages that `read_rendered` renders. After bicubic x4, Tesseract takes 44 %
# of the letters at 5 for others, and 1 % at 9.
SIZES = (5, 6, 7, 8, 9)
# Every letter, digits, and pairs that blur into one another.
_LINES = (
    "The quick brown fox jumps over the lazy dog. Sphinx of black quartz, judge my vow.",
    "Invoice 48302 of 17 March 1956: 3 boxes at 29.75 each, total 89.25, paid in full.",
    "Modern clinics burn little oil; the corner shop fills jam jars from a willow vat.",
)


class TextErrors(NamedTuple):
    """Character error rates on the rendered pages: of an upscaler's pictures, and of HR itself."""

    sr: float
    hr: float


def text(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """Character error rate of Tesseract on SR against what it reads in HR: edits (insertion, deletion,
    substitution) per character. A picture should be one block of text; `render_page` makes some.

    Args:
        sr, hr: images `(H, W, 3)` uint8 of one size.

    Returns:
        0 for equal images, lower is better, 1 where nothing right is read; more where there is much more text
        than in HR. None where Tesseract reads nothing in HR.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
        SrkdError: Tesseract is not installed, or fails.
    """
    check_rgb(sr, hr)
    truth = read(hr)
    return error_rate(read(sr), truth) if truth else None


def read_rendered(upscale: Callable[[np.ndarray], np.ndarray], scale: int) -> TextErrors:
    """Character error rates against the text itself, on rendered pages of text of 5 to 9 LR pixels, black
    on white, LR made by MATLAB's bicubic.

    Args:
        upscale: maps LR `(h, w, 3)` uint8 to SR `(h * scale, w * scale, 3)` uint8.
        scale: the factor of `upscale`.

    Raises:
        SrkdError: Tesseract is not installed, or fails.
    """
    pictures = [upscale(downscale(render_page(size, scale), scale)) for size in SIZES]
    sr = float(np.mean([_rate(image) for image in pictures]))
    return TextErrors(sr, float(np.mean([_rate_page(size, scale) for size in SIZES])))


@lru_cache
def _rate_page(size: int, scale: int) -> float:
    return _rate(render_page(size, scale))


def _rate(image: np.ndarray) -> float:
    return error_rate(read(image), " ".join(_LINES))


def render_page(size: int, scale: int) -> np.ndarray:
    """A page of text in Pillow's own font, black on white, `(H, W, 3)` uint8, both sides multiples of
    `scale`.

    Args:
        size: of the letters, in LR pixels.
        scale: HR pixels for each LR pixel.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size * scale)
    lines = [part for line in _LINES for part in textwrap.wrap(line, 42)]
    # 42 letters of at most 0.6 of the size, and a margin of one.
    width, height = 28 * size * scale, (2 * len(lines) + 2) * size * scale
    page = Image.new("RGB", (width, height), "white")
    for row, line in enumerate(lines):
        # Off the LR grid by another fraction in each line, as letters in photographs are.
        place = (size * scale + row, (2 * row + 1) * size * scale + row)
        ImageDraw.Draw(page).text(place, line, "black", font)
    return np.array(page)


def error_rate(found: str, truth: str) -> float:
    """Edits from a text to the truth (Levenshtein 1966) per character of the truth, of which there is one at
    least; runs of white space count as one space."""
    found, truth = " ".join(found.split()), " ".join(truth.split())
    if not truth:
        raise UsageError("an error rate needs a text to compare with")
    costs = list(range(len(truth) + 1))
    for row, letter in enumerate(found, start=1):
        above, costs[0] = costs[0], row
        for column, wanted in enumerate(truth, start=1):
            above, costs[column] = (
                costs[column],
                min(costs[column] + 1, costs[column - 1] + 1, above + (letter != wanted)),
            )
    return costs[-1] / len(truth)


def read(image: np.ndarray) -> str:
    """What Tesseract reads in an image `(H, W, 3)` uint8, taken as one block of English text.

    Raises:
        SrkdError: Tesseract is not installed, or fails.
    """
    from PIL import Image

    picture = BytesIO()
    Image.fromarray(image).save(picture, "PNG")
    # Without a resolution Tesseract guesses one, and warns.
    return _run("stdin", "stdout", "-l", "eng", "--psm", "6", "--dpi", "300", data=picture.getvalue()).strip()


@lru_cache(maxsize=1)
def tesseract_version() -> str:
    """Such as `tesseract 5.3.0`: only error rates of one version compare.

    Raises:
        SrkdError: Tesseract is not installed.
    """
    return _run("--version").splitlines()[0].strip()


def _run(*arguments: str, data: bytes = b"") -> str:
    try:
        # One thread, which is faster on small pictures, and its results do not depend on how many there are.
        done = subprocess.run(
            ["tesseract", *arguments],
            input=data,
            capture_output=True,
            check=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
    except FileNotFoundError as error:
        raise SrkdError(INSTALL) from error
    except OSError as error:
        raise SrkdError(f"tesseract cannot be started: {first_line(error)}") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip()
        if "language" in said or "tessdata" in said:
            raise SrkdError(INSTALL) from error
        last = said.splitlines()[-1] if said else f"exit code {error.returncode}"
        raise SrkdError(f"tesseract failed: {last}") from error
    return done.stdout.decode("utf-8", "replace")
