"""Weights files of this package, and files that are none."""

from pathlib import Path

import pytest
import torch
from conftest import ARCHITECTURES, build_network

from srkd import load_generator, save_generator


@pytest.mark.parametrize(("name", "options"), ARCHITECTURES)
def test_weights_rebuild_their_own_model(tmp_path, name, options):
    model, image = build_network(name, options, scale=3), torch.rand(1, 3, 9, 11)
    save_generator(model.to(memory_format=torch.channels_last), tmp_path / "w.safetensors", stage="test")
    loaded = load_generator(tmp_path / "w.safetensors")
    assert loaded.config == model.config and loaded.info["stage"] == "test" and not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), model(image), rtol=0, atol=1e-6)


def test_weights_that_are_none(tmp_path, photos, weights, fails):
    """A pickle that would run code, by either name; text; a discriminator; a cut file."""

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    for name in ("bomb.pth", "bomb.safetensors"):
        torch.save({"body.0.weight": Bomb()}, tmp_path / name)
        error = fails(1, "evaluate", tmp_path / name, "--data", photos)
        assert name in error
    (tmp_path / "text.safetensors").write_text("hello")
    assert "not a safetensors file" in fails(1, "export", tmp_path / "text.safetensors")
    (tmp_path / "text.onnx").write_text("hello")
    assert "not an ONNX model" in fails(
        1, "upscale", photos, "-o", tmp_path / "o", "-w", tmp_path / "text.onnx"
    )
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in fails(1, "evaluate", tmp_path / "cut.safetensors", "--data", photos)
    assert not (tmp_path / "executed").exists()


def test_a_discriminator_is_no_generator(fails, photos, teacher):
    path = teacher / "gan_discriminator.safetensors"
    assert "holds a discriminator" in fails(2, "evaluate", path, "--data", photos)
