"""LPIPS."""

import torch

from srkd.metrics.perceptual import load_lpips


def test_lpips_is_that_of_each_image_alone():
    a, b = torch.rand(2, 3, 48, 40), torch.rand(2, 3, 48, 40)
    model = load_lpips("st-lpips-alex")
    together, alone = model(a, b), torch.cat([model(a[i : i + 1], b[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)
