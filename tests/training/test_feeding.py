"""Batches on their way to the device: the same whether a thread brings them or not."""

import functools
import gc
import threading

import numpy as np
import pytest
import torch
from conftest import read_log, run_strategy, same

from srkd.data import Crops, Pair
from srkd.training import loop
from srkd.training.feeding import AHEAD, cut, feed

CPU = torch.device("cpu")
_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def make_crops():
    rng = np.random.default_rng(0)
    lr, hr, out = (rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((12, 16), (48, 64), (48, 64)))
    pair = Pair("a", lr, hr, targets=(out, (out / 255).astype(np.float16)))
    return Crops([pair], 32, 4, 4, [7], targets=True)


@pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda", 0), marks=_gpu)])
@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_a_thread_brings_the_same_batches_in_the_same_order(steps, device):
    crops = make_crops()
    plain = list(feed(crops.stream(0, steps), CPU, prefetch=False))
    ahead = list(feed(crops.stream(0, steps), device, prefetch=True))
    assert len(plain) == len(ahead) == steps
    for step, ((batch, images), (other, brought)) in enumerate(zip(plain, ahead, strict=True)):
        assert len(images) == len(brought) == 4
        np.testing.assert_array_equal(batch.hr, crops(step).hr)
        np.testing.assert_array_equal(other.hr, batch.hr)
        for image, same_image in zip(images, brought, strict=True):
            assert same_image.device.type == device.type and torch.equal(image, same_image.cpu())
            assert same_image.is_contiguous(memory_format=torch.channels_last)


def test_a_run_comes_to_the_same_weights_and_log(photos, teacher, tmp_path, monkeypatch):
    plain = run_strategy(photos, teacher, tmp_path / "plain", "gan2g_al", device="cpu", accumulate=2)
    monkeypatch.setattr(loop, "feed", functools.partial(feed, prefetch=True))
    ahead = run_strategy(photos, teacher, tmp_path / "ahead", "gan2g_al", device="cpu", accumulate=2)
    for stage in ("transfer", "finetune"):
        assert same(plain.weights[stage], ahead.weights[stage])
    assert read_log(plain.folder) == read_log(ahead.folder)


def test_what_goes_wrong_is_raised_in_its_turn():
    def batches():
        yield from make_crops().stream(0, 2)
        raise ValueError("the third")

    found = feed(batches(), CPU, prefetch=True)
    assert [batch.lr.shape for batch, _ in (next(found), next(found))] == [(4, 8, 8, 3)] * 2
    with pytest.raises(ValueError, match="the third"):
        next(found)


def test_no_more_is_made_ahead_than_needed_and_no_thread_stays():
    made, threads = [], set(threading.enumerate())

    def batches():
        for batch in make_crops().stream(0, 100):
            made.append(batch)
            yield batch

    found = feed(batches(), CPU, prefetch=True)
    next(found)
    found.close()
    assert 1 <= len(made) <= 1 + AHEAD
    # The crops' own thread ends with their generator.
    gc.collect()
    assert set(threading.enumerate()) <= threads


def test_parts_hold_the_whole_batch_in_order():
    images = [torch.arange(6.0).reshape(6, 1, 1, 1) + k for k in range(3)]
    parts = cut(images, 3)
    assert [part[0].flatten().tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert all(torch.equal(part[2][0], part[0] + 2) for part in parts)
