"""A network applied to images of any size, part by part. Imports no torch."""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np
import psutil

from srkd.errors import SrkdError, UsageError
from srkd.images import resample
from srkd.images.tensors import to_planes, white_of
from srkd.runtimes import Settings

# float32 `(N, 3, H, W)` in [0, 1] to `(N, 3, scale*H, scale*W)`; of one image where a runtime takes no more.
Run = Callable[[np.ndarray], np.ndarray]
# Memory that the automatic tile size may take, where four times as much is available.
BUDGET = 400 * 2**20
# LR pixels around an output pixel, of networks whose receptive field is unknown: their windows have 8 to 32.
FOREIGN_RADIUS = 32
# Bytes per LR pixel of a network that does not say: 64 float32 channels at four times the size, twice.
UNKNOWN_MEMORY = 2 * 64 * 4 * 16.0
# What runtimes take over what is alive in a network: ONNX Runtime 1.66 times on the shipped student.
OVERHEAD = 1.7
# Sides below which no tile is divided further when memory runs out.
SMALLEST = 16


class Part(NamedTuple):
    """A part of the enlarged image.

    Args:
        rows, columns: its place.
        values: float32 `(h, w, 3)` about [0, 1].
        fade: rows at the top and columns on the left that overlap parts which came before, to be blended.
    """

    rows: slice
    columns: slice
    values: np.ndarray
    fade: tuple[int, int] = (0, 0)

    def strips(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """The part a few rows at a time, so that what is made from it takes little memory: rows of the
        enlarged image, values `(h, w, 3)`, and where parts overlap the share `(h, w)` in [0, 1] of this one,
        which rises over the overlap."""
        height, width = self.values.shape[:2]
        down, across = (
            np.minimum(1, (np.arange(length) + 1) / (fade + 1), dtype=np.float32)
            for length, fade in zip((height, width), self.fade, strict=True)
        )
        for top in range(0, height, 64):
            rows = slice(top, min(top + 64, height))
            mask = None if self.fade == (0, 0) else np.outer(down[rows], across)
            yield slice(self.rows.start + rows.start, self.rows.start + rows.stop), self.values[rows], mask


class _Span(NamedTuple):
    """LR pixels `start` to `stop` of one axis, computed from the window `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Runner:
    """A generator ready to run, on whichever runtime.

    Args:
        name: for tables and messages.
        scale: its factor.
        radius: LR pixels around an output pixel that it depends on, which tiles must overlap by.
        run: maps float32 `(1, 3, H, W)` in [0, 1] to `(1, 3, scale*H, scale*W)`; None for bicubic.
        exact: whether nothing beyond the radius counts. Where it does, tiles are blended into one another.
        memory: bytes per LR pixel that are alive at its widest point.
        runtime: what runs it, for messages.
    """

    name: str
    scale: int
    radius: int
    run: Run | None
    exact: bool = True
    memory: float = UNKNOWN_MEMORY
    runtime: str = ""

    def __call__(self, image: np.ndarray, tile: int | None = 0) -> np.ndarray:
        """Upscales `(H, W, 3)` uint8 to `(scale*H, scale*W, 3)` uint8.

        Args:
            image: the LR image.
            tile: side of the tiles in LR pixels, as for `parts`.
        """
        if self.run is None:
            return resample.upscale_bicubic(image, self.scale)
        result = np.empty((image.shape[0] * self.scale, image.shape[1] * self.scale, 3), np.uint8)
        for part in self.parts(image, tile):
            put(result, part)
        return result

    def parts(self, image: np.ndarray, tile: int | tuple[int, int] | None = 0) -> Iterator[Part]:
        """Enlarges an image part by part, in reading order.

        Tiles overlap by the receptive field, so the result is that of the whole image where `exact`. A tile
        for which memory does not suffice is halved, and so are those after it.

        Args:
            image: `(H, W, 3)` uint8, uint16, or floating point with 1 for white.
            tile: side of the tiles in LR pixels, or height and width, without their overlap; 0 for the whole
                image at once; None to choose it by free memory.

        Raises:
            SrkdError: there is not even memory for the smallest tile.
        """
        height, width = image.shape[:2]
        tile = self.choose_tiles(height, width) if tile is None else tile
        sides = tile if isinstance(tile, tuple) else (tile, tile)
        # Of what overlaps, half is left for the networks' surroundings where they blend.
        fade = 0 if self.exact else self.radius // 2
        queue = deque(
            (rows, columns)
            for rows in _cut(height, sides[0], self.radius)
            for columns in _cut(width, sides[1], self.radius)
        )
        most = height * width
        while queue:
            rows, columns = queue.popleft()
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            values = None
            if area <= most:
                try:
                    values = self._run_window(image[rows.first : rows.last, columns.first : columns.last])
                except Exception as error:
                    if not _is_memory(error):
                        raise
                    most = area // 2
            if values is not None:
                yield self._crop(values, rows, columns, fade)
                continue
            if max(rows.stop - rows.start, columns.stop - columns.start) < 2 * SMALLEST:
                raise SrkdError(f"there is not enough memory to run {self.name} even on {SMALLEST} pixels")
            queue.extendleft(reversed(self._halve(rows, columns, height, width)))

    def choose_tiles(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image's tiles: of those that memory allows, with which the least is computed
        twice. 0 for an axis that is not cut."""
        pixels = min(BUDGET, psutil.virtual_memory().available / 4) / (OVERHEAD * self.memory)
        # Tiles much smaller than their overlap would compute everything several times.
        smallest = max(2 * self.radius, SMALLEST)
        best, least = (smallest, smallest), float("inf")
        for rows in range(1, max(1, height // smallest) + 1):
            tall = self._window(height, rows)
            wide = min(int(pixels / tall), width)
            if wide < min(width, smallest + 2 * self.radius):
                continue
            columns = 1 if wide == width else ceil((width - 2 * self.radius) / (wide - 2 * self.radius))
            computed = rows * columns * tall * self._window(width, columns)
            if computed < least:
                least = computed
                best = tuple(
                    0 if count == 1 else ceil((length - 2 * self.radius) / count)
                    for length, count in ((height, rows), (width, columns))
                )
        return best[0], best[1]

    def _window(self, length: int, count: int) -> int:
        """The side of each of `count` equal windows over an axis."""
        return length if count == 1 else ceil((length - 2 * self.radius) / count) + 2 * self.radius

    def _run_window(self, window: np.ndarray) -> np.ndarray:
        if self.run is None:
            values = resample.upscale_bicubic(window / white_of(window.dtype), self.scale)
            return values.astype(np.float32, copy=False)
        return self.run(to_planes(window))[0].transpose(1, 2, 0)

    def _crop(self, values: np.ndarray, rows: _Span, columns: _Span, fade: int) -> Part:
        """A window's result without its surroundings."""
        fades = [min(fade, span.start - span.first) * self.scale for span in (rows, columns)]
        places, inner = [], []
        for span, margin in zip((rows, columns), fades, strict=True):
            places.append(slice(span.start * self.scale - margin, span.stop * self.scale))
            first = span.first * self.scale
            inner.append(slice(places[-1].start - first, places[-1].stop - first))
        return Part(places[0], places[1], values[tuple(inner)], (fades[0], fades[1]))

    def _halve(self, rows: _Span, columns: _Span, height: int, width: int) -> list[tuple[_Span, _Span]]:
        tall = rows.stop - rows.start >= columns.stop - columns.start
        span, length = (rows, height) if tall else (columns, width)
        middle = (span.start + span.stop) // 2
        halves = [
            _Span(start, stop, max(start - self.radius, 0), min(stop + self.radius, length))
            for start, stop in ((span.start, middle), (middle, span.stop))
        ]
        return [(half, columns) if tall else (rows, half) for half in halves]


def put(target: np.ndarray, part: Part) -> None:
    """Puts a part into an image `(H, W, 3)`: uint8 or uint16, clipped and rounded, or float32 as it is."""
    plain = target.dtype == np.float32
    for rows, values, mask in part.strips():
        place = rows, part.columns
        if not plain:
            values = values.clip(0, 1) * white_of(target.dtype)
        if mask is not None:
            # What no part before has written may hold anything, even what is not a number.
            share = mask[..., None]
            before = np.where(share < 1, target[place], values)
            values = before + (values - before) * share
        np.copyto(target[place], values if plain else np.rint(values), casting="unsafe")


def average_flips(upscaler: Runner) -> Runner:
    """The same network, averaged over the eight flips and rotations of its input (self-ensemble, Timofte et
    al. 2016, arXiv 1511.02228), which takes eight times as long."""
    run = upscaler.run
    if run is None:
        return upscaler

    def run_all(batch: np.ndarray) -> np.ndarray:
        total = None
        for turns in range(4):
            for flip in (False, True):
                turned = np.rot90(batch, turns, (2, 3))
                turned = turned[..., ::-1] if flip else turned
                found = run(np.ascontiguousarray(turned))
                found = np.rot90(found[..., ::-1] if flip else found, -turns, (2, 3))
                total = found.copy() if total is None else total + found
        assert total is not None
        return total / 8

    return replace(upscaler, run=run_all)


def _cut(length: int, tile: int, radius: int) -> list[_Span]:
    """Spans that cover an axis, with windows of one size.

    Each window reaches `radius` beyond its span or to the border, which is left to the network's own padding
    as without tiles. Equal windows let a runtime plan its memory once.
    """
    count = max(1, ceil((length - 2 * radius) / tile)) if tile else 1
    if count == 1:
        return [_Span(0, length, 0, length)]
    window = ceil((length - 2 * radius) / count) + 2 * radius
    firsts = [(length - window) * k // (count - 1) for k in range(count)]
    starts = [0, *(first + radius for first in firsts[1:]), length]
    return [_Span(starts[k], starts[k + 1], first, first + window) for k, first in enumerate(firsts)]


def _is_memory(error: Exception) -> bool:
    """Whether a runtime ran out of memory, which each reports in its own way."""
    return isinstance(error, MemoryError) or bool(
        re.search(
            r"out of memory|not enough memory|bad.?alloc|(failed|can't|unable) to allocate", str(error), re.I
        )
    )


def check_cpu(settings: Settings, name: str) -> None:
    """Raises UsageError where settings ask a runtime of the CPU for a device or precision of torch."""
    if settings.device not in ("auto", "cpu"):
        raise UsageError(f"{name} runs on the CPU here; for {settings.device} use --backend torch")
    if settings.precision not in ("auto", "fp32"):
        raise UsageError(f"--precision is torch's; for {name}, export a file of that precision (srkd export)")
