"""What perceptual training leaves and LPIPS hardly sees: halos, noise and lattices on flat ground, tint.

All are in 8-bit levels, 0 for equal images, and lower is better. Images are `(H, W, 3)` uint8; a measure is
None where HR has nothing to measure it on. Nothing is cut off at the border.
"""

import numpy as np

from srkd.metrics.scores import check_rgb

# A strong edge: HR's gray values span a quarter of the range within 3x3 pixels.
EDGE = 64
# Pixels from a strong edge, rows and columns counted apart, within which halos are looked for.
REACH = 8
# Sides of the windows of HR's least and greatest values, and of its deviation.
WINDOW = 7
# HR is flat where its deviation is below one level.
FLAT = 1.0
# The fewest flat pixels that make a measure: fewer are gaps between textures.
LEAST_GROUND = 256
# Side of the squares over which a lattice is averaged, and how far they stay away from edges, in LR pixels:
# two is the reach of bicubic, whose blurred edges would count as a lattice.
LATTICE_CELLS, LATTICE_MARGIN = 4, 2


def halo(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """Mean overshoot beyond HR's least and greatest value of 7x7 pixels, over all pixels within 8 of a strong
    edge (where gray values span 64 levels in 3x3 pixels) and all channels.

    Returns:
        Levels; None without a strong edge.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    sr, hr = _prepare(sr, hr)
    gray = to_gray(hr)[..., 0]
    edges = maximum_filter(gray, 3) - minimum_filter(gray, 3) >= EDGE
    near: np.ndarray = maximum_filter(edges, 2 * REACH + 1)
    if not near.any():
        return None
    least: np.ndarray = minimum_filter(hr, WINDOW, axes=(0, 1))
    greatest: np.ndarray = maximum_filter(hr, WINDOW, axes=(0, 1))
    over = np.maximum(sr - greatest, 0) + np.maximum(least - sr, 0)
    return float(over[near].mean())


def flat_noise(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """Standard deviation of SR - HR where HR's own deviation in 7x7 pixels is under a level (1/255) in every
    channel; of the channels, the root of the mean square.

    Returns:
        Levels; a constant shift of a channel does not count. None with fewer than 256 such pixels.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    sr, hr = _prepare(sr, hr)
    flat = (_variance(hr, WINDOW) < FLAT**2).all(axis=2)
    if flat.sum() < LEAST_GROUND:
        return None
    return float(np.sqrt((sr - hr)[flat].var(axis=0).mean()))


def lattice(sr: np.ndarray, hr: np.ndarray, scale: int) -> float | None:
    """Amplitude of what repeats from one LR pixel to the next in SR - HR, on HR's flat ground: the grid that
    sub-pixel upsampling leaves (checkerboard artefacts: Odena et al. 2016, doi 10.23915/distill.00003).

    The image is cut into squares of 4x4 LR pixels. In each where HR's deviation, with a margin of two LR
    pixels, is under a level in every channel, SR - HR is averaged for each of the P = scale^2 positions
    within an LR pixel. The variance of these averages, less (1 - 1/P) sigma^2 / 16 for what the variance
    sigma^2 at one position adds to it by chance, is the lattice's: noise without a grid counts as 0 on
    average, and so does a slope. The measure is the root of the mean over squares and channels. The loss
    `grid` is the mean magnitude of the same averages, chance included, on any ground.

    Args:
        sr, hr: images of one size.
        scale: the lattice's period in pixels.

    Returns:
        Levels, the root mean square of the lattice: columns that alternate by +a and -a have a. None without
        flat ground of 256 pixels, and at scale 1, which has no lattice.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    if scale == 1:
        return None
    sr, hr = _prepare(sr, hr)
    side, around = LATTICE_CELLS * scale, (LATTICE_CELLS + 2 * LATTICE_MARGIN) * scale + 1
    rows, columns = hr.shape[0] // side, hr.shape[1] // side
    if rows * columns == 0:
        return None
    flat = _variance(hr, around)[side // 2 : rows * side : side, side // 2 : columns * side : side] < FLAT**2
    flat = flat.all(axis=2).ravel()
    if flat.sum() * side**2 < LEAST_GROUND:
        return None
    cells = (sr - hr)[: rows * side, : columns * side]
    cells = cells.reshape(rows, LATTICE_CELLS, scale, columns, LATTICE_CELLS, scale, 3)
    cells = cells.transpose(0, 3, 1, 4, 2, 5, 6).reshape(rows * columns, LATTICE_CELLS**2, scale**2, 3)[flat]
    found = cells.mean(axis=1).var(axis=1)
    by_chance = (1 - scale**-2) * cells.var(axis=1, ddof=1).mean(axis=1) / LATTICE_CELLS**2
    return float(np.sqrt(max((found - by_chance).mean(), 0)))


def tint(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """Mean spread between the channels of a pixel (largest less smallest), of a picture that should be gray.

    Returns:
        Levels; None where HR is not gray: make colour pictures gray before the network with `to_gray`.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    spread = _find_spread(sr, hr)
    return None if spread is None else float(spread.mean())


def largest_tint(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """The largest spread between the channels of a pixel; as `tint`, which is its mean."""
    spread = _find_spread(sr, hr)
    return None if spread is None else float(spread.max())


def to_gray(image: np.ndarray) -> np.ndarray:
    """An RGB image in gray, uint8, three equal channels: BT.601 luma of full range, rounded."""
    gray = np.round(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def _find_spread(sr: np.ndarray, hr: np.ndarray) -> np.ndarray | None:
    sr, hr = _prepare(sr, hr)
    return None if np.ptp(hr, axis=2).any() else np.ptp(sr, axis=2)


def _variance(image: np.ndarray, side: int) -> np.ndarray:
    """Of each channel in a window around each pixel; the image is mirrored at its border."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(image**2, side, axes=(0, 1)) - uniform_filter(image, side, axes=(0, 1)) ** 2


def _prepare(sr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_rgb(sr, hr)
    return sr.astype(np.float64), hr.astype(np.float64)
