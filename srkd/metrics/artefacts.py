"""What perceptual training leaves and LPIPS hardly sees: halos, noise and lattices on flat ground, tint.

All are in 8-bit levels, 0 for equal images, and lower is better. Images are `(H, W, 3)` uint8; a measure is None
where HR has nothing to measure it on. Nothing is cut off at the border.
"""

import numpy as np

from srkd.metrics.scores import check_8_bit, check_same_shape

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
# Side of the squares over which a lattice is averaged, in LR pixels.
LATTICE_CELLS = 4


def halo(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """Mean overshoot beyond HR's least and greatest value of 7x7 pixels, over all pixels within 8 of a strong edge
    (where gray values span 64 levels in 3x3 pixels) and all channels.

    Returns:
        Levels; None without a strong edge.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    sr, hr = _prepare(sr, hr)
    gray = to_gray(hr.astype(np.uint8))[..., 0].astype(float)
    edges = maximum_filter(gray, 3) - minimum_filter(gray, 3) >= EDGE
    near = maximum_filter(edges, 2 * REACH + 1)
    if not near.any():
        return None
    size = (WINDOW, WINDOW, 1)
    over = np.maximum(sr - maximum_filter(hr, size), 0) + np.maximum(minimum_filter(hr, size) - sr, 0)
    return float(over[near].mean())


def flat_noise(sr: np.ndarray, hr: np.ndarray) -> float | None:
    """Standard deviation of SR - HR where HR's own deviation in 7x7 pixels is under a level (1/255) in every channel;
    of the channels, the root of the mean square.

    Returns:
        Levels; a constant shift of a channel does not count. None with fewer than 256 such pixels.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    from scipy.ndimage import uniform_filter

    sr, hr = _prepare(sr, hr)
    size = (WINDOW, WINDOW, 1)
    variance = uniform_filter(hr**2, size) - uniform_filter(hr, size) ** 2
    flat = (variance < FLAT**2).all(axis=2)
    if flat.sum() < LEAST_GROUND:
        return None
    return float(np.sqrt((sr - hr)[flat].var(axis=0).mean()))


def lattice(sr: np.ndarray, hr: np.ndarray, scale: int) -> float | None:
    """Amplitude of what repeats from one LR pixel to the next in SR - HR, on HR's flat ground: the grid that
    sub-pixel upsampling leaves (checkerboard artefacts: Odena et al. 2016, doi 10.23915/distill.00003).

    The image is cut into squares of 4x4 LR pixels. In each where HR's deviation is under a level in every channel,
    the difference is averaged for each of the scale^2 positions within an LR pixel; the variance of these averages
    is that of the lattice, once what the spread within the positions would add is subtracted (sigma^2 / 16, by the
    positions other than the mean), so that noise without a grid, or a slope, counts as 0 on average. The measure
    is the root of the mean over squares and channels. The loss `grid` is the mean magnitude of the same averages,
    on any ground.

    Args:
        sr, hr: images of one size.
        scale: the lattice's period in pixels.

    Returns:
        Levels, the root mean square of the lattice: columns that alternate by +a and -a have a. None without flat
        ground of 256 pixels, and at scale 1, which has no lattice.

    Raises:
        UsageError: the images are not 8-bit, or differ in size.
    """
    if scale == 1:
        return None
    sr, hr = _prepare(sr, hr)
    # (squares, LR pixels, positions, channels)
    difference, ground = _cut(sr - hr, scale), _cut(hr, scale)
    flat = (ground.std(axis=(1, 2)) < FLAT).all(axis=1)
    if flat.sum() * (LATTICE_CELLS * scale) ** 2 < LEAST_GROUND:
        return None
    difference = difference[flat]
    found = difference.mean(axis=1).var(axis=1)
    by_chance = difference.var(axis=1, ddof=1).mean(axis=1) / LATTICE_CELLS**2 * (1 - scale**-2)
    return float(np.sqrt(max((found - by_chance).mean(), 0)))


def _cut(image: np.ndarray, scale: int) -> np.ndarray:
    """Squares of LATTICE_CELLS x LATTICE_CELLS LR pixels, `(squares, LR pixels, positions, channels)`."""
    side = LATTICE_CELLS * scale
    rows, columns = image.shape[0] // side, image.shape[1] // side
    cells = image[: rows * side, : columns * side].reshape(
        rows, LATTICE_CELLS, scale, columns, LATTICE_CELLS, scale, image.shape[2]
    )
    return cells.transpose(0, 3, 1, 4, 2, 5, 6).reshape(
        rows * columns, LATTICE_CELLS**2, scale**2, image.shape[2]
    )


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
    """An RGB image, uint8, in gray, three equal channels: BT.601 luma of full range, rounded."""
    gray = np.round(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def _find_spread(sr: np.ndarray, hr: np.ndarray) -> np.ndarray | None:
    sr, hr = _prepare(sr, hr)
    return None if np.ptp(hr, axis=2).any() else np.ptp(sr, axis=2)


def _prepare(sr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_8_bit(sr)
    check_8_bit(hr)
    check_same_shape(sr, hr)
    return sr.astype(np.float64), hr.astype(np.float64)
