"""Quantization-aware fine-tuning."""

import copy
import json
import re

import numpy as np
import onnx
import pytest
import torch
from conftest import NETWORKS, build_network
from torch import nn

import srkd
from srkd.exports import writing
from srkd.exports.checks import Measured
from srkd.exports.rounding import find_sensitive, round_convolutions
from srkd.exports.tuning import tune
from srkd.models.fusing import fuse


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, 32, 40), np.float32) for _ in range(3)]


def test_convolutions_round_as_int8_does(images):
    """To 255 steps of the input and 64 on either side of each kernel, as computed by hand; plain again
    afterwards. The first and the last, and those to leave out, stay plain."""
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)))
    x = torch.from_numpy(images[0])
    with torch.no_grad(), round_convolutions(model, images[:1], ["2"]) as layers:
        assert list(layers) == ["1"]
        layer, x = layers["1"], model[0](x)
        step = (x.max() - x.min()) / 255
        rounded = ((x / step).round() * step).clamp(x.min() - step, x.max() + step)
        steps = layer.weight.abs().amax((1, 2, 3), keepdim=True) / 64
        weight = (layer.weight / steps).round() * steps
        wanted = torch.nn.functional.conv2d(rounded, weight, layer.bias, padding=1)
        found = layer(x)
        assert type(model[0]) is type(model[2]) is type(model[3]) is nn.Conv2d
    # A value halfway between two steps may go either way; the zero point is rounded, and the output, too.
    coarse = (wanted.max() - wanted.min()) / 255
    assert (found - wanted).abs().max() <= 3 * float(step) + float(coarse)
    assert 128 < len(found.unique()) <= 256
    assert type(model[1]) is nn.Conv2d and len(model(x).unique()) > 256


class _Chain(nn.Module):
    """Convolutions that pass pixels on as they are, and one whose channels differ by far, so that rounding
    what it gives to 255 steps loses the small ones."""

    def __init__(self, spoilt: int | None):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(10)))
        for number, layer in enumerate(self.layers):
            gain = torch.tensor([1.0, 1.0, 300.0 if number == spoilt else 1.0])
            layer.load_state_dict({"weight": torch.diag(gain)[..., None, None], "bias": torch.zeros(3)})
        self.register_buffer("share", 1 / torch.tensor([1.0, 1.0, 300.0 if spoilt else 1.0])[:, None, None])

    def forward(self, x):
        return self.layers(x) * self.share


def test_the_convolution_that_int8_harms_is_found(images):
    """By name, or the next, which takes what it gives; none where int8 harms none."""
    fewer = [image * 0.5 for image in images]
    assert find_sensitive(_Chain(None), fewer) == ()
    model = _Chain(7)
    found = find_sensitive(model, fewer)
    assert found and set(found) <= {"layers.7", "layers.8"}
    before = [layer.weight.clone() for layer in model.layers]
    assert all(torch.equal(a, layer.weight) for a, layer in zip(before, model.layers, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_stay_and_come_nearer(images, name):
    """The same layers, other weights, whose int8 images are nearer to those of fp32."""
    fused = fuse(build_network(*NETWORKS[name]))
    before = {key: value.clone() for key, value in fused.state_dict().items()}
    tuned = tune(fused, images, 1)
    assert {key: value.shape for key, value in tuned.state_dict().items()} == {
        key: value.shape for key, value in before.items()
    }
    assert all(torch.equal(value, before[key]) for key, value in fused.state_dict().items())
    assert any(not torch.equal(value, before[key]) for key, value in tuned.state_dict().items())
    assert not any(value.requires_grad for value in tuned.parameters())
    assert tuned(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 32, 32)


def test_it_learns(images):
    """The error of int8 falls: measured with fake int8, on an image that it was not trained on."""
    fused = fuse(build_network("span", {"channels": 8}))
    image = np.random.default_rng(9).random((1, 3, 32, 32), np.float32)

    def error(model):
        rounded = copy.deepcopy(model)
        with round_convolutions(rounded, images), torch.no_grad():
            batch = torch.from_numpy(image)
            return float((rounded(batch) - fused(batch)).abs().mean())

    assert error(tune(fused, images, 60)) < 0.9 * error(fused)


def test_an_export_that_loses_too_much_is_tuned(tmp_path, networks, photos, capsys, monkeypatch):
    """End to end, on a small network: what is written is the tuned one if it is better."""
    losses = iter([0.2, 0.05, 0.2, 0.25])

    def measure(run, plain, scale):
        return Measured(30 - next(losses), 30.0, 45.0, 3, 1.2)

    monkeypatch.setattr(writing, "measure_precision", measure)
    weights = []
    for name in ("better", "worse"):
        options = {"precision": "int8", "calibrate": str(photos), "tune": 3}
        path = srkd.export(str(networks["span"]), out=str(tmp_path / f"{name}.onnx"), **options)
        said = capsys.readouterr().out
        proto = onnx.load(path)
        facts = json.loads(proto.metadata_props[0].value)
        if name == "better":
            assert "fine-tuned for 3 steps: plain int8 lost 0.20 dB, now 0.05" in said
            assert facts["tuned"] == "int8, 3 steps"
        else:
            assert "3 steps of fine-tuning did not help" in said and "tuned" not in facts
        assert re.search(r"1\.20 times the fp32 run time: slower than fp32 on this machine", said)
        weights.append({tensor.name: tensor.raw_data for tensor in proto.graph.initializer})
    assert weights[0].keys() == weights[1].keys() and weights[0] != weights[1]


def test_misuse(fails, networks):
    assert "tune must be" in fails(2, "export", networks["lr"], "--precision", "int8", "--tune", "-1")
