"""LPIPS."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT

from srkd import UsageError
from srkd.data import embedded_photos
from srkd.images.reading import read_image
from srkd.images.resample import downscale, upscale_bicubic
from srkd.metrics.perceptual import load_lpips, lpips

_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def test_lpips_is_that_of_each_image_alone():
    a, b = torch.rand(2, 3, 48, 40), torch.rand(2, 3, 48, 40)
    model = load_lpips("st-lpips-alex")
    together, alone = model(a, b), torch.cat([model(a[i : i + 1], b[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
@pytest.mark.parametrize("scale", [2, 4])
def test_shift_tolerant_lpips_is_the_packages(trunk, scale):
    """Of a photograph's bicubic enlargement: values that the code of `stlpips-pytorch` 0.0.2 gave."""
    hr = read_image(embedded_photos(["astronaut.png"])[0])[:128, 150:278]
    sr = upscale_bicubic(downscale(hr, scale), scale)
    golden = json.loads((ROOT / "tests" / "golden" / "lpips.json").read_text())
    name = f"st-lpips-{trunk}"
    assert lpips(sr, hr, name) == pytest.approx(golden[f"{name} bicubic x{scale}"], abs=1e-4)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=_gpu)])
def test_lpips_of_images(device):
    """On every device the network's own value; 0 for equal images; refused where they do not fit."""
    hr, sr = np.random.default_rng(0).integers(0, 256, (2, 40, 36, 3), np.uint8)
    pair = [torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in (sr, hr)]
    expected = float(load_lpips("st-lpips-vgg").cpu()(*pair))
    assert lpips(sr, hr, "st-lpips-vgg", device) == pytest.approx(expected, rel=1e-3) and expected > 0.05
    assert lpips(hr, hr, device=device) == 0
    with pytest.raises(UsageError, match="32x32"):
        lpips(sr[:31], hr[:31], device=device)
    with pytest.raises(UsageError, match="size"):
        lpips(sr[:-1], hr, device=device)
