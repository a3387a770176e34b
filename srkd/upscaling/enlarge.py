"""A photograph enlarged, with its transparency, depth and gray; in memory, or from file to file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from srkd.errors import SrkdError, first_line
from srkd.files import check_writable
from srkd.images.formats import FORMATS, MEGAPIXELS, Format
from srkd.images.photo import Photo
from srkd.images.reading import read_photo, to_bytes
from srkd.images.tensors import is_gray, to_gray, to_levels, white_of
from srkd.images.writing import write_photo
from srkd.runtimes.runner import Part, Runner, put
from srkd.upscaling.nearest import find_nearest
from srkd.upscaling.sizes import OWN, SUPPORT, Box, Size, resample

# What is not written to a file may be as an array can be.
IN_MEMORY = Format(alpha=True, deep=True, longest=2**31 - 1, lossy=False, options={})
Advance = Callable[[float], None]
# In the place of a network, for what need not become larger.
_UNCHANGED = Runner("none", 1, 0, lambda batch: batch, memory=24.0)


def enlarge_file(
    model: Runner,
    source: Path,
    target: Path,
    size: Size = OWN,
    *,
    quality: int | None = None,
    tile: int | None = None,
    seamless: bool = False,
    megapixels: float = MEGAPIXELS,
    advance: Advance = lambda pixels: None,
) -> tuple[bool, tuple[str, ...]]:
    """Enlarges an image file into another, which appears whole or not at all.

    Args:
        model: what enlarges.
        source, target: the files. The target's suffix is its format.
        size: the result's.
        quality: 1 to 100, of lossy formats; as for `write_photo` when not given.
        tile: as for `Runner.parts`.
        seamless: whether the image's opposite borders meet.
        megapixels: images whose header declares more are rejected.
        advance: called with the LR pixels of each part that is done.

    Returns:
        Whether the network was left out, since the image is as large already; and what of the source's
        description was left out, and why, a sentence each.

    Raises:
        SrkdError: the image cannot be read, enlarged or written, for whatever reason; the message names it.
    """
    with naming(source):
        photo = read_photo(source, megapixels)
        # What cannot be written is told before the network has run.
        check_writable(target)
        try:
            picture = enlarge(
                model, photo, FORMATS[target.suffix.lower()], size, tile, advance, seamless=seamless
            )
        except SrkdError as error:
            raise SrkdError(f"{source}: {error}") from error
        about, kept = photo.about, size.shrinks(*photo.pixels.shape[:2])
        # Its pixels' memory the encoder may need.
        del photo
        return kept, write_photo(target, picture, about, quality)


@contextmanager
def naming(source: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes one line that names the source: one file's trouble, of whatever
    type, is not that of the others."""
    try:
        yield
    except SrkdError:
        raise
    except MemoryError as error:
        raise SrkdError(f"{source}, enlarged, does not fit into memory") from error
    except Exception as error:
        raise SrkdError(f"{source}: {type(error).__name__}: {first_line(error)}") from error


def enlarge(
    model: Runner,
    photo: Photo,
    kind: Format = IN_MEMORY,
    size: Size = OWN,
    tile: int | tuple[int, int] | None = None,
    advance: Advance = lambda pixels: None,
    *,
    seamless: bool = False,
) -> Image.Image | np.ndarray:
    """Enlarges a photograph.

    Tiles go straight into the picture, so that memory holds it once. Colours under full transparency, which
    would bleed into edges as dark fringes, are replaced by those of the nearest visible pixel; a format
    without transparency gets a white ground. What is gray, though stored as RGB, stays gray (`is_gray`, of
    the whole picture): the network, which may tint it, gets its luma and gives the mean of its three
    channels, which is nearer to the original than their luma (by 0.06 to 0.1 dB for the shipped GAN weights
    on Set14 and BSD100).

    Args:
        model: what enlarges.
        photo: the LR photograph.
        kind: the abilities of the format that it is for.
        size: the result's. What the model's factor does not give is resampled from its output (Lanczos).
        tile: as for `Runner.parts`.
        advance: called with the LR pixels of each part that is done.
        seamless: whether the photograph's opposite borders meet, as of a texture that is laid as tiles: what
            the model sees beyond a border is then the other side.

    Returns:
        8 bits as a Pillow image (L, LA, RGB, RGBA). 16 bits as an array `(H, W)`, or `(H, W, C)` of 2, 3 or
        4 channels, and so floating point, in [0, 1].

    Raises:
        SrkdError: the result is larger than the format allows, or memory does not suffice.
    """
    height, width = photo.pixels.shape[:2]
    wanted = size.of(height, width, model.scale)
    _check_format(wanted, (1 if photo.gray else 3) + (photo.alpha is not None and kind.alpha), kind)
    model = _UNCHANGED if size.shrinks(height, width) else model
    border = _choose_border(model, height * model.scale / wanted[0]) if seamless else 0
    pixels, alpha = (_wrap(plane, border) for plane in (photo.pixels, photo.alpha))
    if alpha is not None and not kind.alpha:
        pixels, alpha = _on_white(pixels, alpha), None
    if alpha is not None:
        pixels = _bleed(pixels, alpha)
    if not kind.deep:
        pixels, alpha = to_bytes(pixels), None if alpha is None else to_bytes(alpha)
    gray = photo.gray or is_gray(pixels)
    if gray and not photo.gray:
        pixels = to_gray(pixels)
    share = height * width / (pixels.shape[0] * pixels.shape[1])
    colours = _Colours(gray, 1 if photo.gray else 3)
    picture = _run(model, pixels, alpha, colours, tile, lambda done: advance(done * share))
    margin, large = border * model.scale, (height * model.scale, width * model.scale)
    if margin or wanted != large:
        picture = resample(picture, Box(margin, margin, margin + large[0], margin + large[1]), wanted)
    if isinstance(picture, Image.Image):
        return picture
    picture = to_levels(picture, picture.dtype) if picture.dtype == np.float32 else picture
    return picture[..., 0] if picture.shape[2] == 1 else picture


def _check_format(size: tuple[int, int], channels: int, kind: Format) -> None:
    """Raises SrkdError where a format does not hold a result of that height and width."""
    height, width = size
    limit = None
    if max(size) > kind.longest:
        limit = f"{kind.longest} pixels a side"
    elif height * width * channels > kind.largest:
        limit = f"{kind.largest / 2**30:.0f} GiB"
    if limit:
        raise SrkdError(
            f"would become {width}x{height}, and its format holds at most {limit}; choose another --format"
        )


def _choose_border(model: Runner, shrinking: float) -> int:
    """LR pixels that a seamless image is continued by: what the model sees, and what resampling does."""
    return model.radius + ceil(SUPPORT * max(1.0, shrinking) / model.scale)


def _wrap(plane: Any, border: int) -> Any:
    """Continues a plane, if there is one, beyond its borders by itself."""
    if plane is None or border == 0:
        return plane
    return np.pad(plane, [(border, border)] * 2 + [(0, 0)] * (plane.ndim - 2), mode="wrap")


class _Colours(NamedTuple):
    """Whether a picture is gray, and the channels of colour that it is kept in all the same."""

    gray: bool
    channels: int

    def of(self, part: Part) -> Part:
        """A part of the network's output as one of the picture."""
        if not self.gray:
            return part
        mean = _mean(part.values)
        return part._replace(values=np.repeat(mean, 3, axis=2) if self.channels == 3 else mean)


def _run(
    model: Runner,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    colours: _Colours,
    tile: int | tuple[int, int] | None,
    advance: Advance,
) -> Any:
    """The picture at the model's own scale; alpha after the colours."""
    large = (pixels.shape[0] * model.scale, pixels.shape[1] * model.scale)
    picture = _blank(large, colours.channels == 1, alpha is not None, pixels.dtype)
    share = 1 if alpha is None else 2
    for part in model.parts(pixels, tile):
        _place(picture, colours.of(part))
        advance(_area(part, model.scale) / share)
    if alpha is None:
        return picture
    plane = _blank(large, True, False, pixels.dtype)
    for part in _enlarge_alpha(model, alpha, tile):
        _place(plane, part)
        advance(_area(part, model.scale) / share)
    if isinstance(picture, Image.Image):
        picture.putalpha(plane)
    else:
        picture[..., -1] = plane[..., 0]
    return picture


def _blank(size: tuple[int, int], gray: bool, alpha: bool, dtype: Any) -> Any:
    """A black picture: Pillow's for 8 bits, an array `(H, W, C)` for others."""
    if dtype == np.uint8:
        return Image.new(("L" if gray else "RGB") + "A" * alpha, (size[1], size[0]))
    return np.zeros((*size, (1 if gray else 3) + alpha), dtype)


def _place(picture: Any, part: Part) -> None:
    if not isinstance(picture, Image.Image):
        put(picture[..., : part.values.shape[2]], part)
        return
    for rows, values, mask in part.strips():
        pixels = to_levels(values, np.uint8)
        strip = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        shape = None if mask is None else Image.fromarray(to_levels(mask, np.uint8))
        picture.paste(strip.convert(picture.mode), (part.columns.start, rows.start), shape)


def _enlarge_alpha(model: Runner, alpha: np.ndarray, tile: int | tuple[int, int] | None) -> Iterator[Part]:
    """Alpha as a gray image; kept between its neighbours, so that what is clear or opaque stays so."""
    limits = [_over_neighbours(alpha, choose) / white_of(alpha.dtype) for choose in (np.minimum, np.maximum)]
    factor = model.scale
    for part in model.parts(np.repeat(alpha[..., None], 3, axis=2), tile):
        place = tuple(slice(axis.start // factor, axis.stop // factor) for axis in (part.rows, part.columns))
        low, high = (limit[place].repeat(factor, 0).repeat(factor, 1)[..., None] for limit in limits)
        yield part._replace(values=_mean(part.values).clip(low, high))


def _over_neighbours(plane: np.ndarray, choose: Callable[..., np.ndarray]) -> np.ndarray:
    """The least or greatest of the 3x3 pixels around each."""
    padded = np.pad(plane, 1, mode="edge")
    rows = choose(choose(padded[:-2], padded[1:-1]), padded[2:])
    return choose(choose(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=2, keepdims=True)


def _area(part: Part, scale: int) -> float:
    """LR pixels of a part, without its overlaps."""
    height, width = part.values.shape[:2]
    return (height - part.fade[0]) * (width - part.fade[1]) / scale**2


def _bleed(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives fully transparent pixels the colour of the nearest that is not."""
    visible = alpha != 0
    return pixels[find_nearest(visible)] if visible.any() and not visible.all() else pixels


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    white = np.iinfo(pixels.dtype).max
    share = alpha[..., None] / np.float32(white)
    return np.rint(pixels * share + white * (1 - share)).astype(pixels.dtype)
