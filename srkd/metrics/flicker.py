"""Flicker: how much a still scene moves."""

from collections.abc import Iterable

import numpy as np

from srkd.errors import UsageError
from srkd.images.tensors import white_of


def temporal_deviation(frames: Iterable[np.ndarray]) -> float:
    """The standard deviation of each value over time, averaged over pixels and channels, of a scene in which
    nothing moves: what is left is noise, and what an upscaler makes of it.

    Args:
        frames: arrays of one shape, uint8, uint16, or floating point with 1 for white; read one at a time.

    Returns:
        Levels of 255.

    Raises:
        UsageError: fewer than two frames, or frames of several sizes.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for frame in frames:
        values = frame.astype(np.float64) * (255 / float(white_of(frame.dtype)))
        if count and values.shape != mean.shape:
            raise UsageError(f"frames of one clip have one size, not {mean.shape} and {values.shape}")
        # Welford 1962: no sum of squares, which would lose digits.
        count += 1
        change = values - mean
        mean = mean + change / count
        squares = squares + change * (values - mean)
    if count < 2:
        raise UsageError("flicker is measured over two frames or more")
    return float(np.sqrt(squares / count).mean())
