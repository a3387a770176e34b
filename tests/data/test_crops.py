"""Batches of crops."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from srkd.data import Crops, Pair, open_data
from srkd.degradation import Degradation


@pytest.mark.parametrize("mix", [None, Degradation(clean=0.3)])
def test_rows_can_be_made_apart(mix):
    """Two processes with half the rows each see what one process sees, degraded or not, in whatever order."""
    rng = np.random.default_rng(0)
    sizes = [(9, 11), (8, 30)]
    pairs = [
        Pair(str(k), *(rng.integers(0, 256, (h * f, w * f, 3), dtype=np.uint8) for f in (1, 4)))
        for k, (h, w) in enumerate(sizes)
    ]
    whole = Crops(pairs, 32, 6, 4, [3], mix=mix)(5)
    halves = [Crops(pairs, 32, 6, 4, [3], rows, mix=mix)(5) for rows in (range(3), range(3, 6))]
    for k in range(2):
        np.testing.assert_array_equal(whole[k], np.concatenate([half[k] for half in halves]))
    for first, last in ((4, 7), (0, 9), (5, 6), (6, 6)):
        streamed = list(Crops(pairs, 32, 6, 4, [3], mix=mix).stream(first, last))
        assert len(streamed) == last - first
        for step, batch in enumerate(streamed, first):
            again = Crops(pairs, 32, 6, 4, [3], mix=mix)(step)
            assert np.array_equal(batch.lr, again.lr) and np.array_equal(batch.hr, again.hr)


def numbered(height, width, scale=4):
    """A pair whose pixels say where they lie: row and column at LR size."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    lr = np.stack([y, x, y * 0], -1)
    return Pair("numbered", lr, lr.repeat(scale, 0).repeat(scale, 1))


def test_crops_reach_every_place_and_each_way_round():
    """The first and the last row and column as well, as often as any other; all eight orientations."""
    pair = numbered(13, 10)
    places, ways = Counter(), Counter()
    for step in range(150):
        batch = Crops([pair], 32, 8, 4, [1])(step)
        for lr, hr in zip(batch.lr, batch.hr, strict=True):
            np.testing.assert_array_equal(hr, lr.repeat(4, 0).repeat(4, 1))
            places[int(lr[..., 0].min()), int(lr[..., 1].min())] += 1
            corner, beside = lr[0, 0].astype(int), lr[0, 1].astype(int)
            ways[(*np.sign(corner - lr[-1, -1])[:2], bool(corner[0] != beside[0]))] += 1
    assert set(places) == {(y, x) for y in range(13 - 8 + 1) for x in range(10 - 8 + 1)}
    assert max(places.values()) < 2 * min(places.values())
    assert len(ways) == 8 and max(ways.values()) < 2 * min(ways.values())


def test_every_image_is_drawn_and_replay_gives_half():
    pairs = [Pair(str(k), *(np.full((8 * f, 8 * f, 3), k, np.uint8) for f in (1, 4))) for k in range(4)]
    drawn = Counter()
    for step in range(100):
        drawn.update(Crops(pairs[:3], 32, 8, 4, [0], replay=pairs[3:])(step).hr[:, 0, 0, 0].tolist())
    assert set(drawn) == {0, 1, 2, 3} and abs(drawn[3] / 800 - 0.5) < 0.06
    assert max(drawn[k] for k in range(3)) < 1.5 * min(drawn[k] for k in range(3))


def test_degraded_lr_belongs_to_its_crop():
    """It is made of the HR crop as it lies in the batch, so it is nearest to that."""
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).repeat(32, 0).repeat(32, 1).astype(np.uint8)
    pairs = [Pair("a", image[::4, ::4].copy(), image)]
    for step in range(4):
        plain, drawn = Crops(pairs, 64, 4, 4, [2])(step), Crops(pairs, 64, 4, 4, [2], mix=Degradation())(step)
        np.testing.assert_array_equal(plain.hr, drawn.hr)
        assert not np.array_equal(plain.lr, drawn.lr)
        gaps = np.abs(drawn.lr[:, None].astype(float) - plain.lr[None]).mean((2, 3, 4))
        assert (gaps.argmin(1) == np.arange(4)).all()


def test_stored_outputs_are_cut_as_hr_is(packed):
    pairs = [replace(pair, targets=(pair.hr, pair.hr[::-1])) for pair in open_data(str(packed), 4).train]
    for step in range(8):
        batch = Crops(pairs, 32, 4, 4, [0], targets=True)(step)
        np.testing.assert_array_equal(batch.targets[0], batch.hr)
        assert not np.array_equal(batch.targets[1], batch.hr)
        assert not Crops(pairs, 32, 4, 4, [0])(step).targets
