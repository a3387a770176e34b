"""A photograph enlarged, with its transparency, depth and gray."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from srkd.errors import SrkdError
from srkd.images.formats import Format
from srkd.images.photo import Photo
from srkd.images.reading import to_bytes
from srkd.runtimes.runner import Part, Runner, put


def enlarge(
    model: Runner,
    photo: Photo,
    kind: Format,
    scale: float | None = None,
    tile: int | None = None,
    advance: Callable[[float], None] = lambda pixels: None,
) -> Image.Image | np.ndarray:
    """Enlarges a photograph into a picture that `write_photo` takes.

    Tiles go straight into the picture, so that memory holds it once. Colours under full transparency, which
    would bleed into edges as dark fringes, are replaced by those of the nearest visible pixel; a format
    without transparency gets a white ground.

    Args:
        model: what enlarges.
        photo: the LR photograph.
        kind: the format's abilities.
        scale: result size over the photograph's; the model's when not given.
        tile: as for `Runner.parts`.
        advance: called with the LR pixels of each part that is done.

    Raises:
        SrkdError: the result is larger than the format allows, or memory does not suffice.
    """
    height, width = photo.pixels.shape[:2]
    scale = scale or model.scale
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    if max(size) > kind.longest:
        raise SrkdError(
            f"would become {size[1]}x{size[0]}, and its format holds at most {kind.longest} pixels a side; "
            "choose another --format"
        )
    pixels, alpha = photo.pixels, photo.alpha
    if alpha is not None and not kind.alpha:
        pixels, alpha = _on_white(pixels, alpha), None
    if alpha is not None:
        pixels = _bleed(pixels, alpha)
    if not kind.deep:
        pixels, alpha = to_bytes(pixels), None if alpha is None else to_bytes(alpha)
    large = (height * model.scale, width * model.scale)
    picture = _blank(large, photo.gray, alpha is not None, pixels.dtype)
    share = 1 if alpha is None else 2
    for part in model.parts(pixels, tile):
        _place(picture, part._replace(values=_mean(part.values)) if photo.gray else part)
        advance(_area(part, model.scale) / share)
    if alpha is not None:
        plane = _blank(large, True, False, pixels.dtype)
        for part in _enlarge_alpha(model, alpha, tile):
            _place(plane, part)
            advance(_area(part, model.scale) / share)
        if isinstance(picture, Image.Image):
            picture.putalpha(plane)
        else:
            picture[..., -1] = plane[..., 0]
    return picture if size == large else _resize(picture, size)


def _blank(size: tuple[int, int], gray: bool, alpha: bool, dtype: Any) -> Any:
    """A black picture: Pillow's for 8 bits, an array `(H, W, C)` for 16."""
    if dtype == np.uint8:
        return Image.new(("L" if gray else "RGB") + "A" * alpha, (size[1], size[0]))
    return np.zeros((*size, (1 if gray else 3) + alpha), dtype)


def _place(picture: Any, part: Part) -> None:
    if not isinstance(picture, Image.Image):
        put(picture[..., : part.values.shape[2]], part)
        return
    for rows, values, mask in part.strips():
        pixels = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        strip = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        shape = None if mask is None else Image.fromarray(np.rint(mask * 255).astype(np.uint8))
        picture.paste(strip.convert(picture.mode), (part.columns.start, rows.start), shape)


def _enlarge_alpha(model: Runner, alpha: np.ndarray, tile: int | None) -> Iterator[Part]:
    """Alpha as a gray image; kept between its neighbours, so that what is clear or opaque stays so."""
    from scipy.ndimage import maximum_filter, minimum_filter

    white = np.float32(np.iinfo(alpha.dtype).max)
    limits = [filtered(alpha, 3, mode="nearest") / white for filtered in (minimum_filter, maximum_filter)]
    factor = model.scale
    for part in model.parts(np.repeat(alpha[..., None], 3, axis=2), tile):
        place = tuple(slice(axis.start // factor, axis.stop // factor) for axis in (part.rows, part.columns))
        low, high = (limit[place].repeat(factor, 0).repeat(factor, 1)[..., None] for limit in limits)
        yield part._replace(values=_mean(part.values).clip(low, high))


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=2, keepdims=True)


def _area(part: Part, scale: int) -> float:
    """LR pixels that a part is, without what overlaps."""
    height, width = part.values.shape[:2]
    return (height - part.fade[0]) * (width - part.fade[1]) / scale**2


def _bleed(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives pixels that are fully transparent the colour of the nearest that is not."""
    from scipy.ndimage import distance_transform_edt

    clear = alpha == 0
    if not clear.any() or clear.all():
        return pixels
    nearest: Any = distance_transform_edt(clear, return_distances=False, return_indices=True)
    return pixels[nearest[0], nearest[1]]


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    white = np.iinfo(pixels.dtype).max
    share = alpha[..., None] / np.float32(white)
    return np.rint(pixels * share + white * (1 - share)).astype(pixels.dtype)


def _resize(picture: Any, size: tuple[int, int]) -> Any:
    """Resamples to the wanted size, antialiased; 16 bits by way of floats, a channel at a time."""
    target = (size[1], size[0])
    if isinstance(picture, Image.Image):
        return picture.resize(target, Image.Resampling.LANCZOS)
    result = np.empty((*size, picture.shape[2]), picture.dtype)
    for channel in range(picture.shape[2]):
        plane = Image.fromarray(picture[..., channel].astype(np.float32)).resize(
            target, Image.Resampling.LANCZOS
        )
        result[..., channel] = np.rint(np.asarray(plane).clip(0, 65535))
    return result
