"""Batches of crops."""

from dataclasses import replace

import numpy as np

from srkd.data import Crops, Pair, open_data


def test_rows_can_be_made_apart():
    """Two processes with half the rows each see what one process sees."""
    rng = np.random.default_rng(0)
    sizes = [(9, 11), (8, 30)]
    pairs = [
        Pair(str(k), *(rng.integers(0, 256, (h * f, w * f, 3), dtype=np.uint8) for f in (1, 4)))
        for k, (h, w) in enumerate(sizes)
    ]
    whole = Crops(pairs, 32, 6, 4, [3])(5)
    halves = [Crops(pairs, 32, 6, 4, [3], rows)(5) for rows in (range(3), range(3, 6))]
    for k in range(2):
        np.testing.assert_array_equal(whole[k], np.concatenate([half[k] for half in halves]))
    streamed = list(Crops(pairs, 32, 6, 4, [3]).stream(4, 7))
    assert len(streamed) == 3
    np.testing.assert_array_equal(streamed[1].hr, whole.hr)


def test_stored_outputs_are_cut_as_hr_is(packed):
    pairs = [replace(pair, targets=(pair.hr, pair.hr[::-1])) for pair in open_data(str(packed), 4).train]
    for step in range(8):
        batch = Crops(pairs, 32, 4, 4, [0], targets=True)(step)
        np.testing.assert_array_equal(batch.targets[0], batch.hr)
        assert not np.array_equal(batch.targets[1], batch.hr)
        assert not Crops(pairs, 32, 4, 4, [0])(step).targets
