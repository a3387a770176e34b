"""SPAN and Compact are those that spandrel knows; merged kernels."""

import json

import pytest
import spandrel
import torch
from safetensors.torch import save_file

from srkd import create_generator, load_generator, save_generator
from srkd.models.fusing import merge


@pytest.mark.parametrize("scale", [2, 4])
def test_compact_is_spandrels_bit_for_bit(tmp_path, scale):
    model, image = create_generator("compact_s", scale).eval(), torch.rand(1, 3, 20, 14)
    save_generator(model, tmp_path / "w.safetensors")
    descriptor = spandrel.ModelLoader().load_from_file(tmp_path / "w.safetensors")
    assert (descriptor.architecture.id, descriptor.scale) == ("Compact", scale)
    with torch.no_grad():
        assert torch.equal(descriptor.model(image), model(image))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_span_is_spandrels(tmp_path, scale):
    """In spandrel's evaluation, which runs the merged kernels of the file, and in its training, which runs
    the branches."""
    model, image = create_generator("span", scale, channels=8).eval(), torch.rand(1, 3, 20, 14)
    save_generator(model, tmp_path / "w.safetensors")
    descriptor = spandrel.ModelLoader().load_from_file(tmp_path / "w.safetensors")
    assert (descriptor.architecture.id, descriptor.scale) == ("SPAN", scale)
    with torch.no_grad():
        for mode in (False, True):
            found = descriptor.model.train(mode)(image)
            torch.testing.assert_close(found, model(image), rtol=0, atol=1e-6)


def test_a_merged_network_loads_and_trains(tmp_path):
    """Its file has the plain convolutions alone; the same parts come of them each time, none of them idle."""
    model, image = create_generator("span", channels=8).eval(), torch.rand(1, 3, 20, 14)
    path = save_generator(merge(model), tmp_path / "merged.safetensors")
    assert path.stat().st_size < save_generator(model, tmp_path / "w.safetensors").stat().st_size / 4
    loaded, again = load_generator(path), load_generator(path)
    torch.testing.assert_close(loaded(image), model(image), rtol=0, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.parameters(), strict=True))
    loaded(image).square().sum().backward()
    for parameter in loaded.parameters():
        assert parameter.grad is not None and parameter.grad.flatten(1 % parameter.dim()).any(-1).all()
    save_generator(loaded, path)
    found = spandrel.ModelLoader().load_from_file(path).model.train()(image)
    torch.testing.assert_close(found, model(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("change", [lambda tensor: None, lambda tensor: tensor[:1]], ids=["absent", "cut"])
def test_a_damaged_merged_network_is_told(tmp_path, fails, part, change):
    merged = merge(create_generator("span", channels=8))
    header = {"format": 1, "kind": "generator", "config": merged.config}
    state = {key: value.clone() for key, value in merged.state_dict().items()}
    key = f"block_1.c1_r.{part}"
    state[key] = change(state[key])
    tensors = {name: value for name, value in state.items() if value is not None}
    save_file(tensors, tmp_path / "w.safetensors", {"srkd": json.dumps(header)})
    path = tmp_path / "w.safetensors"
    assert "block_1.c1_r" in fails(1, "export", path, "--format", "onnx")


def test_merged_kernels_follow_training():
    """What a state dict says of them is up to date, whatever was loaded or averaged."""
    model = create_generator("span", channels=4)
    stale = {key: value * 0 if "eval_conv" in key else value for key, value in model.state_dict().items()}
    other = create_generator("span", channels=4)
    other.load_state_dict(stale)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None and parameter.grad.any()
            parameter.sub_(parameter.grad, alpha=0.1)
    averaged.update_parameters(model)
    for network in (model, other, averaged.module):
        state = network.state_dict()
        blocks = [key.removesuffix(".eval_conv.weight") for key in state if key.endswith("eval_conv.weight")]
        assert blocks
        for block in blocks:
            merged = network.get_submodule(block).merged()
            assert torch.equal(state[f"{block}.eval_conv.weight"], merged.weight)
