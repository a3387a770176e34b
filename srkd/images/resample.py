"""MATLAB's bicubic `imresize`, bit for bit: the resampler behind every published SR benchmark.

The kernel is Keys' cubic with a = -0.5, widened by the scale when shrinking (antialiasing). The
vertical pass comes first; integer images are rounded half up and clipped to 0..255 between the
passes; coordinates outside the image are clamped to its border.
"""

from functools import lru_cache

import numpy as np

from srkd.errors import UsageError

# Numbers that the weighted sums work on at a time: a quarter of a megabyte of them.
BLOCK = 32768


def resize(image: np.ndarray, size: tuple[int, int], scale: float | None = None) -> np.ndarray:
    """Resizes an image as MATLAB's `imresize(image, scale, 'bicubic')` does.

    Args:
        image: `(H, W)` or `(H, W, C)`, uint8 (0..255) or floating point (any range, not clipped).
        size: height and width of the result.
        scale: result size over source size; derived from `size` per axis when not given. It differs
            from that ratio when the size was rounded, as in `imresize(image, 1/4)` of 321 rows.

    Returns:
        An array of the same type and the new size.

    Raises:
        UsageError: a type other than uint8 or float, an empty image, or an empty size.
    """
    if image.ndim not in (2, 3) or 0 in image.shape or min(size) < 1:
        raise UsageError(f"cannot resize an image of shape {image.shape} to {size[0]}x{size[1]}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise UsageError(f"cannot resize {image.dtype} pixels; use uint8 or a floating type")
    result = image.astype(np.float64)
    for axis in (0, 1):
        taps = _find_taps(image.shape[axis], size[axis], scale or size[axis] / image.shape[axis])
        moved = np.moveaxis(result, axis, 0)
        rows = _sum_rows(moved.reshape(moved.shape[0], -1), *taps)
        result = np.moveaxis(rows.reshape(size[axis], *moved.shape[1:]), 0, axis)
        if image.dtype == np.uint8:
            result = np.clip(np.floor(result + 0.5), 0, 255)
    return np.ascontiguousarray(result.astype(image.dtype))


def downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """Shrinks an image `scale` times: `imresize(image, 1/scale)`, sizes rounded up."""
    height, width = image.shape[:2]
    return resize(image, (-(-height // scale), -(-width // scale)), 1 / scale)


def upscale_bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges an image `scale` times: `imresize(image, scale)`."""
    return resize(image, (image.shape[0] * scale, image.shape[1] * scale), scale)


@lru_cache(maxsize=64)
def _find_taps(length: int, target: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The source rows of each result row and their weights, both `(taps, target)`; weights sum to one."""
    stretch = max(1.0, 1 / scale)
    centre = (np.arange(target) + 0.5) / scale - 0.5
    index = np.floor(centre - 2 * stretch).astype(int)[:, None] + np.arange(int(np.ceil(4 * stretch)) + 2)
    weight = _cubic((centre[:, None] - index) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    index, weight = np.clip(index, 0, length - 1).T.copy(), weight.T.copy()
    # Taps clamped to the same border row count as one, so that sums round as those of a sparse matrix.
    for k in range(1, len(index)):
        same = index[:k] == index[k]
        columns = np.flatnonzero(same.any(axis=0))
        weight[same[:, columns].argmax(axis=0), columns] += weight[k, columns]
        weight[k, columns] = 0
    used = weight.any(axis=1)
    return index[used], weight[used]


def _sum_rows(source: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums of rows, tap after tap, some rows at a time so that they stay in the cache."""
    result = np.zeros((index.shape[1], source.shape[1]))
    count = max(1, BLOCK // source.shape[1])
    gathered = np.empty((min(count, len(result)), source.shape[1]))
    for start in range(0, len(result), count):
        rows = slice(start, start + count)
        term = gathered[: len(result[rows])]
        for taps, weights in zip(index[:, rows], weight[:, rows, None], strict=True):
            np.take(source, taps, axis=0, out=term, mode="clip")
            term *= weights
            result[rows] += term
    return result


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
