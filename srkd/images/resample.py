"""MATLAB's bicubic `imresize`, bit for bit: the resampler behind every published SR benchmark.

The kernel is Keys' cubic with a = -0.5, widened by the scale when shrinking (antialiasing). The
vertical pass comes first; integer images are rounded half up and clipped to 0..255 between the
passes; coordinates outside the image are clamped to its border.
"""

from functools import lru_cache

import numpy as np
import scipy.sparse

from srkd.errors import UsageError


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
        matrix = _weights(image.shape[axis], size[axis], scale or size[axis] / image.shape[axis])
        moved = np.moveaxis(result, axis, 0)
        rows = matrix @ moved.reshape(moved.shape[0], -1)
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
def _weights(length: int, target: int, scale: float) -> scipy.sparse.csr_array:
    """The `(target, length)` matrix of one pass; rows sum to one."""
    stretch = max(1.0, 1 / scale)
    centre = (np.arange(target) + 0.5) / scale - 0.5
    taps = int(np.ceil(4 * stretch)) + 2
    index = np.floor(centre - 2 * stretch).astype(int)[:, None] + np.arange(taps)
    weight = _cubic((centre[:, None] - index) / stretch)
    weight /= weight.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(target), taps)
    column = np.clip(index, 0, length - 1).ravel()
    return scipy.sparse.csr_array((weight.ravel(), (row, column)), shape=(target, length))


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
