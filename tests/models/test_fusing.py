"""Fused networks compute what the originals do."""

import pytest
import torch
from conftest import ARCHITECTURES, build_network

from srkd.models.fusing import fuse


@pytest.mark.parametrize(("name", "options"), ARCHITECTURES)
def test_fused_networks_compute_the_same(name, options):
    model, image = build_network(name, options), torch.rand(1, 3, 12, 17)
    fused = fuse(model)
    kinds = {type(module).__name__ for module in fused.modules()}
    assert not kinds & {"BatchNorm2d", "Conv3XC"}
    with torch.no_grad():
        torch.testing.assert_close(fused(image), model(image), rtol=0, atol=2e-6)
    assert not fused.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("name", "options"), ARCHITECTURES)
def test_fused_networks_keep_their_precision(name, options):
    model, image = build_network(name, options).double(), torch.rand(1, 3, 9, 8, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(fuse(model)(image), model(image), rtol=0, atol=1e-12)
