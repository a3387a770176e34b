"""Weights files of this package, and files that are none."""

from pathlib import Path

import pytest
import torch
from conftest import ARCHITECTURES, build_network, write_compact

from srkd import UsageError, create_generator, load_generator, save_generator
from srkd.weights.store import copy_weights, load_own_generator


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


def test_only_networks_of_this_package_are_own(tmp_path, weights, onnx_file):
    assert load_own_generator(weights).config == load_generator(weights).config
    for path in (write_compact(tmp_path), onnx_file):
        with pytest.raises(UsageError, match=r"does not hold a network of srkd \(srgan"):
            load_own_generator(path)
    with pytest.raises(UsageError, match="create_generator"):
        save_generator(load_generator(write_compact(tmp_path)), tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["srgan_tiny", "span_s", "srgan_branched"])
def test_a_trunk_is_copied_between_scales(name):
    """All but the tail is the source's; the tail stays as it is."""
    source, target = create_generator(name, 2), create_generator(name, 4)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(UsageError, match="w holds another architecture"):
        copy_weights(source, target, "w")
    assert not copy_weights(source, target, "w", fresh=target.tail_name)
    for key, value in target.state_dict().items():
        kept = key.startswith(target.tail_name)
        assert torch.equal(value, before[key] if kept else source.state_dict()[key]), key
    assert copy_weights(target, create_generator(name, 4), "w", fresh=target.tail_name)
