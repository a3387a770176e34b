"""Random degradation."""

import numpy as np
import pytest
import torch

import srkd
from srkd.data.degrade import degrade
from srkd.images.reading import read_image


def test_degraded_images_are_reproducible_and_differ_from_step_to_step():
    image = torch.rand(3, 3, 48, 64)
    first = degrade(image, 4, np.random.default_rng(1))
    assert first.shape == (3, 3, 12, 16) and first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(first * 255, (first * 255).round())
    assert torch.equal(first, degrade(image, 4, np.random.default_rng(1)))
    assert not torch.equal(first, degrade(image, 4, np.random.default_rng(2)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degraded_images_still_show_the_same(photos, scale):
    """Over many draws an LR image is worse than bicubic's, and nearer to its own than to another's."""
    path = next(photos.glob("astronaut_0*"))
    hr = torch.from_numpy(read_image(path)).permute(2, 0, 1)[None].float() / 255
    clean = torch.nn.functional.interpolate(hr, scale_factor=1 / scale, mode="area")
    other = clean.flip(-1)
    draws = [degrade(hr, scale, np.random.default_rng(seed)) for seed in range(24)]
    near = np.mean([float((draw - clean).square().mean()) for draw in draws])
    far = np.mean([float((draw - other).square().mean()) for draw in draws])
    assert 1e-4 < near < 0.5 * far


def test_training_on_degraded_images_runs_and_repeats(photos, tmp_path):
    options = {"steps": 3, "crop": 32, "batch": 2, "model": "srgan_tiny", "strategy": "pretrain"}
    runs = [
        srkd.train(str(photos), out=str(tmp_path / name), degradation=kind, **options)
        for name, kind in (("a", "real"), ("b", "real"), ("c", "none"))
    ]
    weights = [run.weights["pretrain"].read_bytes()[-1000:] for run in runs]
    assert weights[0] == weights[1] != weights[2]
    assert runs[0].psnr == runs[1].psnr
