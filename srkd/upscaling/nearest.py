"""For each pixel the nearest one of a set, exactly, in the time that the image takes to scan."""

from collections.abc import Iterator

import numpy as np

# Rows that are worked on at a time, which bounds the memory.
_BLOCK = 2048


def find_nearest(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chosen pixel nearest to each pixel by Euclidean distance (the feature transform of Maurer et al.
    2003, IEEE TPAMI 25(2)). Of several, the one in the first column, and there the first row, which is how
    `scipy.ndimage.distance_transform_edt` decides.

    Args:
        chosen: `(H, W)` bool, at least one of them true.

    Returns:
        Row and column of the nearest, both `(H, W)`.
    """
    height, width = chosen.shape
    rows, columns = np.arange(height)[:, None], np.arange(width)
    # Along columns: the nearest above or below.
    above = np.maximum.accumulate(np.where(chosen, rows, -1), axis=0)
    below = np.minimum.accumulate(np.where(chosen, rows, 2 * height)[::-1], axis=0)[::-1]
    nearest = np.where((above >= 0) & (rows - above <= below - rows), above, below)
    # Along rows, of the columns that have any. Chosen pixels are their own nearest.
    sites = np.flatnonzero(chosen.any(axis=0))
    found = np.broadcast_to(columns, chosen.shape).copy()
    open_rows = np.flatnonzero(~chosen.all(axis=1))
    for start in range(0, len(open_rows), _BLOCK):
        block = open_rows[start : start + _BLOCK]
        heights = np.square((nearest[np.ix_(block, sites)] - block[:, None]).T)
        for column, site in enumerate(_scan(heights, sites, width)):
            found[block, column] = sites[site]
    return nearest[rows, found], found


def _scan(heights: np.ndarray, sites: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """For each column, the site of each row for which (column - site)^2 + height is least.

    Args:
        heights: `(sites, rows)`.
        sites: the columns that they stand in, ascending.
        width: how many columns to scan.
    """
    stack, top = _find_envelope(heights, sites)
    every = np.arange(heights.shape[1])
    place = np.zeros_like(top)

    def distance(rows: np.ndarray, places: np.ndarray, column: int) -> np.ndarray:
        site = stack[places, rows]
        return (sites[site] - column) ** 2 + heights[site, rows]

    for column in range(width):
        rows = every[place < top]
        while len(rows):
            here = place[rows]
            nearer = distance(rows, here + 1, column) < distance(rows, here, column)
            rows = rows[nearer]
            place[rows] += 1
            rows = rows[place[rows] < top[rows]]
        yield stack[place, every]


def _find_envelope(heights: np.ndarray, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sites of each row that are least somewhere, `(sites, rows)`, and the place of the last of them: a
    stack for each row, from which a new site takes those that it and the one before hide."""
    count, length = heights.shape
    stack, top = np.zeros((count, length), np.int32), np.zeros(length, np.int64)
    every = np.arange(length)
    for new in range(1, count):
        rows = every[top >= 1]
        while len(rows):
            last, before = stack[top[rows], rows], stack[top[rows] - 1, rows]
            a, b = sites[last] - sites[before], sites[new] - sites[last]
            c = a + b
            hidden = (
                c * heights[last, rows] - b * heights[before, rows] - a * heights[new, rows] - a * b * c > 0
            )
            rows = rows[hidden]
            top[rows] -= 1
            rows = rows[top[rows] >= 1]
        top += 1
        stack[top, every] = new
    return stack, top
