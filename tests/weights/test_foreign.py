"""Weights files of other packages."""

import torch

from srkd import create_generator, load_generator


def test_a_spandrel_file_loads(tmp_path):
    model, image = create_generator("compact_s", 2).eval(), torch.rand(1, 3, 8, 8)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded = load_generator(tmp_path / "w.pth")
    assert loaded.scale == 2 and loaded.config is None and len(loaded.taps) == 8
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image).clamp(0, 1))
