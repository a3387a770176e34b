"""The size of an enlarged image: by a factor, or in pixels."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from srkd.errors import UsageError
from srkd.images.tensors import white_of
from srkd.upscaling.limits import check_options

# Pixels on either side that Lanczos resampling looks at; more where it shrinks.
SUPPORT = 3
# Of what is asked for in pixels, the most that a network's output is enlarged by.
LARGEST = 64


class Size(NamedTuple):
    """What a user asks for; where nothing is given, the network's own factor.

    Args:
        scale: result over source.
        width, height: of the result, in pixels; the other side follows.
        fit: width and height of the box that the result fits into, touching two of its sides.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    fit: tuple[int, int] | None = None

    @property
    def in_pixels(self) -> str:
        """What is asked for in pixels, in words; empty where it is not."""
        return "" if self.width is self.height is self.fit is None else self.describe()

    def of(self, height: int, width: int, factor: int) -> tuple[int, int]:
        """Height and width of the result for an upright source, by a network of that factor.

        Raises:
            UsageError: it would be more than LARGEST times as large as the source.
        """
        if self.width is not None:
            wanted = (max(1, round(height * self.width / width)), self.width)
        elif self.height is not None:
            wanted = (self.height, max(1, round(width * self.height / height)))
        elif self.fit is not None:
            share = min(self.fit[0] / width, self.fit[1] / height)
            wanted = (
                min(max(1, round(height * share)), self.fit[1]),
                min(max(1, round(width * share)), self.fit[0]),
            )
        else:
            scale = self.scale or factor
            return max(1, round(height * scale)), max(1, round(width * scale))
        if wanted[0] > LARGEST * height or wanted[1] > LARGEST * width:
            raise UsageError(
                f"{width}x{height} would become {wanted[1]}x{wanted[0]}, more than {LARGEST} times as large"
            )
        return wanted

    def shrinks(self, height: int, width: int) -> bool:
        """Whether a source is as large already as was asked for in pixels, and needs no network."""
        wanted = self.of(height, width, 1)
        return bool(self.in_pixels) and wanted[0] <= height and wanted[1] <= width

    def describe(self) -> str:
        """In words, for the line that says what was done."""
        if self.width is not None:
            return f"to a width of {self.width}"
        if self.height is not None:
            return f"to a height of {self.height}"
        if self.fit is not None:
            return f"to fit {self.fit[0]}x{self.fit[1]}"
        return f"x{self.scale:g}"


# The network's own factor.
OWN = Size()


def parse_size(
    scale: float | None = None, width: int | None = None, height: int | None = None, fit: str | None = None
) -> Size:
    """Reads the options of size, of which one may be given.

    Args:
        scale: result over source.
        width, height: in pixels.
        fit: a box, as `3840x2160`.

    Raises:
        UsageError: several of them, or one out of range.
    """
    check_options(scale=scale, width=width, height=height)
    options = {"scale": scale, "width": width, "height": height, "fit": fit}
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given == ["--width", "--height"]:
        raise UsageError(f"--width and --height together may distort; give one, or --fit {width}x{height}")
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} each say how large the result is; give one of them")
    return Size(scale, width, height, None if fit is None else _parse_box(fit))


def _parse_box(text: str) -> tuple[int, int]:
    sides = text.lower().split("x") if isinstance(text, str) else []
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 10**6 for side in sides):
        raise UsageError(f"fit must be width x height in pixels, as 3840x2160, not {text!r}")
    return int(sides[0]), int(sides[1])


class Box(NamedTuple):
    """A part of an image, in pixels; rows from `top` to `bottom`, columns from `left` to `right`."""

    top: int
    left: int
    bottom: int
    right: int


def resample(picture: Any, inner: Box, size: tuple[int, int]) -> Any:
    """Resamples a part of a picture to a size (Lanczos, antialiased); at its borders what lies beyond counts.

    Args:
        picture: Pillow's, or an array `(H, W, C)`, uint16 or float32.
        inner: the part.
        size: height and width.

    Returns:
        The part in its size, of the picture's type. Other than 8 bits go by way of floats.
    """
    if size == (inner.bottom - inner.top, inner.right - inner.left):
        if isinstance(picture, Image.Image):
            whole = (0, 0, *picture.size)
            box = (inner.left, inner.top, inner.right, inner.bottom)
            return picture if box == whole else picture.crop(box)
        return picture[inner.top : inner.bottom, inner.left : inner.right]
    if isinstance(picture, Image.Image):
        return _lanczos(picture, inner, size)
    result = np.empty((*size, picture.shape[2]), picture.dtype)
    for channel in range(picture.shape[2]):
        plane = Image.fromarray(picture[..., channel].astype(np.float32))
        values = np.asarray(_lanczos(plane, inner, size)).clip(0, white_of(picture.dtype))
        result[..., channel] = values if picture.dtype == np.float32 else np.rint(values)
    return result


def _lanczos(image: Image.Image, inner: Box, size: tuple[int, int]) -> Image.Image:
    box = (inner.left, inner.top, inner.right, inner.bottom)
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS, box=box)
