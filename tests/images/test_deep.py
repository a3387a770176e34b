"""Images of 16 bits."""

import numpy as np
import pytest
from conftest import bicubic, deep_png, deep_values
from PIL import Image

from srkd.images.reading import read_image
from srkd.images.resample import upscale_bicubic


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_sixteen(tmp_path, suffix, channels):
    """Between neighbouring 8-bit levels, where 8 bits would show steps."""
    smooth = np.linspace(1000, 1600, 64)[None].repeat(16, 0)[..., None].repeat(4, 2)
    smooth[..., 3] = np.linspace(20000, 65535, 64)
    values = np.rint(smooth).astype(np.uint16)[..., :channels]
    source = deep_png(tmp_path / "in.png", values[..., 0] if channels == 1 else values)
    found = deep_values(bicubic(source, tmp_path / f"out{suffix}"))
    expected = upscale_bicubic(smooth[..., :channels], 4)
    assert (
        found.dtype == np.uint16
        and len(np.unique(found[..., 4:-4] if channels == 1 else found[..., 0])) > 100
    )
    gap = np.abs(found.astype(float).reshape(expected.shape) - expected)[..., : min(channels, 3)]
    assert gap.max() <= 2


def test_formats_of_eight_bits_take_deep_images(tmp_path, photo):
    deep_png(tmp_path / "in.png", photo.astype(np.uint16) * 257)
    Image.fromarray(photo).save(tmp_path / "plain.png")
    a, b = (
        read_image(bicubic(tmp_path / n, tmp_path / f"{n}.webp", quality=100))
        for n in ("in.png", "plain.png")
    )
    assert np.array_equal(a, b)
