"""Flicker of a still scene."""

import numpy as np
import pytest

import srkd
from srkd.metrics.flicker import temporal_deviation


def test_it_is_the_deviation_over_time():
    frames = np.random.default_rng(0).integers(0, 256, (9, 7, 5, 3), dtype=np.uint8)
    assert temporal_deviation(iter(frames)) == pytest.approx(frames.std(axis=0).mean())
    assert temporal_deviation(frames.astype(np.uint16) * 257) == pytest.approx(frames.std(axis=0).mean())
    assert temporal_deviation(frames / 255) == pytest.approx(frames.std(axis=0).mean())
    assert temporal_deviation([frames[0]] * 4) == 0


def test_what_is_no_clip():
    with pytest.raises(srkd.UsageError, match="two frames or more"):
        temporal_deviation([np.zeros((2, 2, 3), np.uint8)])
    with pytest.raises(srkd.UsageError, match="have one size"):
        temporal_deviation([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)])
