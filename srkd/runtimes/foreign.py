"""Networks of other programs: what they do is found by trying them on a synthetic image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srkd.errors import UsageError, first_line
from srkd.images import resample
from srkd.images.tensors import to_planes
from srkd.runtimes.runner import FOREIGN_RADIUS, Run, Runner, put

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
# Side of the image that networks are tried on, where they take any.
_SIDE = 128
# Mean squared error, white being 1, from bicubic enlargement: 20 dB, which SR networks are well above.
_CLOSE = 0.01
# BT.601, as in JPEG.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Opened:
    """A network that a runtime runs.

    Args:
        name: the file's stem.
        scale: its factor.
        radius: LR pixels around an output pixel that it depends on.
        run: maps float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`. Threads may share it.
        info: what this package wrote into the file about it; empty for files of other programs.
        exact: whether nothing beyond the radius counts.
    """

    name: str
    scale: int
    radius: int
    run: Run
    info: dict[str, Any] = field(default_factory=dict)
    exact: bool = False


class Range(NamedTuple):
    """The values of black and white that a network takes, and those that it gives."""

    taken: tuple[float, float]
    given: tuple[float, float]


_UNIT, _LEVELS, _SIGNED = (0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)
# In this order: a network that is nearly linear does well in several.
RANGES = tuple(
    Range(*pair)
    for pair in (
        (_UNIT, _UNIT),
        (_LEVELS, _LEVELS),
        (_UNIT, _LEVELS),
        (_LEVELS, _UNIT),
        (_SIGNED, _SIGNED),
        (_UNIT, _SIGNED),
    )
)


class Form(NamedTuple):
    """How a network takes images.

    Args:
        run: maps float32 `(1, channels, H, W)` in the network's own range.
        channels: 3, or 1 for luma.
        height, width: the only size that it takes; None where it takes any.
        ranges: those to try.
    """

    run: Run
    channels: int = 3
    height: int | None = None
    width: int | None = None
    ranges: Iterable[Range] = RANGES


def adapt(path: Path, form: Form) -> tuple[int, Run]:
    """Finds a network's scale, its range, and the multiple that its sizes must have, to which images are
    padded.

    One that takes a single size is run on tiles of it, which overlap and are blended. One that takes luma
    enlarges that alone, and chroma is enlarged bicubically.

    Args:
        path: for messages.
        form: the network.

    Returns:
        Its scale, and a function from float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`.

    Raises:
        UsageError: it does not enlarge images.
    """
    image = draw(form.height or _SIDE, form.width or _SIDE)
    scale = _find_scale(path, form, image)
    run = _in_unit_range(form.run, _find_range(path, form, image, scale))
    one = run if form.channels == 3 else _on_luma(run, scale)
    if form.height or form.width:
        whole = by_tiles(one, form.height or _SIDE, form.width or _SIDE, scale, path.stem)
    else:
        whole = _padded(one, _find_multiple(path, one, scale), scale)
    return scale, lambda batch: np.concatenate([whole(batch[k : k + 1]) for k in range(len(batch))])


def _planes(image: np.ndarray, channels: int) -> np.ndarray:
    return to_planes(image if channels == 3 else (image @ _LUMA)[..., None])


def _find_scale(path: Path, form: Form, image: np.ndarray) -> int:
    kind = "RGB images" if form.channels == 3 else "luma"
    try:
        found = form.run(_planes(image, form.channels) * next(iter(form.ranges)).taken[1])
    except Exception as error:  # each runtime's own
        raise UsageError(f"{path} does not run on {kind}: {first_line(error)}") from error
    if found.ndim != 4 or found.shape[1] != form.channels:
        size = "x".join(map(str, found.shape))
        raise UsageError(f"{path} gives an array of shape {size} for an image, not an image")
    ratios = [a / b for a, b in zip(found.shape[2:], image.shape[:2], strict=True)]
    scale = round(ratios[0])
    if ratios != [scale, scale] or scale < 1:
        raise UsageError(f"{path} does not enlarge an image by a whole factor")
    return scale


def _find_range(path: Path, form: Form, image: np.ndarray, scale: int) -> Range:
    enlarged = _planes(resample.upscale_bicubic(image, scale), form.channels)
    for bounds in form.ranges:
        found = _in_unit_range(form.run, bounds)(_planes(image, form.channels))
        if np.square(found - enlarged).mean() < _CLOSE:
            return bounds
    raise UsageError(
        f"{path} gives something else than an enlarged image, whether white is 1 or 255; is it a "
        f"super-resolution network of {'RGB images' if form.channels == 3 else 'luma'}?"
    )


def _in_unit_range(run: Run, bounds: Range) -> Run:
    (black, white), (dark, light) = bounds
    if bounds == (_UNIT, _UNIT):
        return run
    return lambda batch: (run(batch * (white - black) + black) - dark) / (light - dark)


def _on_luma(run: Run, scale: int) -> Run:
    """Bicubic enlargement, with the network's luma in place of its own: chroma stays."""

    def run_luma(batch: np.ndarray) -> np.ndarray:
        image = batch[0].transpose(1, 2, 0)
        enlarged = resample.upscale_bicubic(image, scale)
        luma = run(_planes(image, 1))[0, 0]
        return to_planes(enlarged + (luma - enlarged @ _LUMA)[..., None])

    return run_luma


def _padded(run: Run, multiple: int, scale: int) -> Run:
    """For any size, where a network takes multiples of one."""

    def run_any(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[2:]
        return _crop(run(_pad(batch, -height % multiple, -width % multiple)), height, width, scale)

    return run_any


def by_tiles(run: Run, height: int, width: int, scale: int, name: str) -> Run:
    """What runs a network of one size on one image of any: on tiles, which overlap and are blended."""
    # A quarter on either side at most, so that half of each tile is new.
    radius = min(FOREIGN_RADIUS, height // 4, width // 4)

    def run_window(batch: np.ndarray) -> np.ndarray:
        rows, columns = batch.shape[2:]
        return _crop(run(_pad(batch, height - rows, width - columns)), rows, columns, scale)

    runner = Runner(name, scale, radius, run_window, exact=False)
    tile = (height - 2 * radius, width - 2 * radius)

    def run_any(batch: np.ndarray) -> np.ndarray:
        image = batch[0].transpose(1, 2, 0)
        result = np.empty((image.shape[0] * scale, image.shape[1] * scale, 3), np.float32)
        for part in runner.parts(image, tile):
            put(result, part)
        return to_planes(result)

    return run_any


def _pad(batch: np.ndarray, down: int, right: int) -> np.ndarray:
    return np.pad(batch, [(0, 0), (0, 0), (0, down), (0, right)], mode="edge") if down or right else batch


def _crop(batch: np.ndarray, height: int, width: int, scale: int) -> np.ndarray:
    return batch[..., : height * scale, : width * scale]


def _find_multiple(path: Path, run: Run, scale: int) -> int:
    """The smallest power of two that sizes must be divisible by."""
    for multiple in _MULTIPLES:
        # Odd multiples on both sides, so that twice the multiple would not fit.
        grow = -(-16 // (3 * multiple)) | 1
        height, width = 3 * multiple * grow, 5 * multiple * grow
        try:
            if run(to_planes(draw(height, width))).shape[2:] == (height * scale, width * scale):
                return multiple
        except Exception:  # of whatever kind: the size does not fit
            continue
    raise UsageError(f"{path} takes no size that is a multiple of {_MULTIPLES[-1]} or less")


def draw(height: int, width: int) -> np.ndarray:
    """An image `(height, width, 3)` float32 in [0, 1] with what photographs have: shading, edges and fine
    texture, in strong contrasts and other colours in each channel, so that neither a gray image nor one with
    its channels exchanged comes near it."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / _SIDE
    planes = []
    for channel in range(3):
        shading = 0.5 + 0.3 * np.sin(5 * x + 2.1 * channel) * np.cos(4 * y - 1.3 * channel)
        disc = np.hypot(x % 1 - 0.6, y % 1 - 0.4) < 0.25
        bars = ((x + 2 * y) * 4 % 1 < 0.5) & (y % 1 > 0.7)
        edges = np.where(disc, 0.35 * (1 - channel), 0) + np.where(bars, 0.2 * (channel - 1), 0)
        texture = 0.04 * np.sin(90 * x + 40 * y) * np.sin(70 * y - 30 * x)
        planes.append(shading + edges + texture)
    return np.stack(planes, axis=-1).clip(0, 1).astype(np.float32)


def choose_form(path: Path, forms: Iterable[Callable[[], Form]]) -> tuple[Form, int, Run]:
    """The first of several forms that enlarges images.

    Raises:
        UsageError: none does; the message is the first one's.
    """
    failures: list[UsageError] = []
    for make in forms:
        try:
            form = make()
            return form, *adapt(path, form)
        except UsageError as error:
            failures.append(error)
    raise failures[0]
