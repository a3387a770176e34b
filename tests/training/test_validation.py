"""Validation: scores of whole images, and the answer to noise."""

import numpy as np
import pytest
import torch
from conftest import build_network
from torch import nn

from srkd import metrics
from srkd.data import DataSet, Pair
from srkd.degradation import Degradation
from srkd.images import resample
from srkd.training.memory import peak_memory
from srkd.training.validation import bicubic_psnr, degrade_validation, largest_on_noise, validate

CPU = torch.device("cpu")


@pytest.fixture
def pairs(photo):
    crops = [photo, photo[:48, :64][:, ::-1].copy()]
    return [Pair(str(k), resample.downscale(hr, 4), hr) for k, hr in enumerate(crops)]


def test_the_score_is_the_mean_over_images_in_eval_mode(pairs):
    # Batch norm tells the modes apart.
    network = build_network("srgan", {"channels": 8, "blocks": 1, "tail": "lr", "norm": "bn"}).train()
    before = [buffer.clone() for buffer in network.buffers()]
    score, strips = validate(network, pairs, 4, CPU)
    assert network.training and [strip.shape[1] for strip in strips] == [3 * 80, 3 * 64]
    with torch.no_grad():
        found = []
        for pair in pairs:
            sr = network.eval()(torch.from_numpy(pair.lr / np.float32(255)).permute(2, 0, 1)[None])
            image = np.rint(sr[0].permute(1, 2, 0).numpy().clip(0, 1) * 255).astype(np.uint8)
            found.append(metrics.psnr(image, pair.hr, "y-crop4"))
    assert score == pytest.approx(np.mean(found), abs=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))
    assert np.array_equal(strips[0][:, -80:], pairs[0].hr)


def test_equal_images_count_as_100(pairs):
    flat = Pair("flat", np.full((16, 16, 3), 90, np.uint8), np.full((64, 64, 3), 90, np.uint8))
    assert bicubic_psnr([flat], 4) == 100
    assert bicubic_psnr([flat, pairs[0]], 4) == pytest.approx((100 + bicubic_psnr(pairs[:1], 4)) / 2)
    assert validate(nn.Upsample(scale_factor=4), [flat], 4, CPU)[0] == 100


def test_noise_shows_what_photographs_do_not():
    """A network that answers the highest frequency alone, a hundred times enlarged."""
    network = nn.Conv2d(3, 3, (1, 2), padding=(0, 1), groups=3, bias=False).train()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([1.0, -1.0]).mul(100).expand(3, 1, 1, 2))
    assert largest_on_noise(network, CPU) == 100 and network.training


def test_degraded_validation_is_the_same_each_time(pairs):
    data = DataSet(pairs, pairs)
    first, again = (degrade_validation(data, Degradation()).val for _ in range(2))
    for pair, a, b in zip(pairs, first, again, strict=True):
        assert np.array_equal(a.lr, b.lr) and not np.array_equal(a.lr, pair.lr)
        assert a.lr.shape == pair.lr.shape and a.hr is pair.hr


def test_peak_memory_counts_what_was_given_back():
    before = peak_memory(CPU)
    held = np.ones(400 * 2**20, np.uint8)
    del held
    assert peak_memory(CPU) >= 400 * 2**20 and peak_memory(CPU) >= before
