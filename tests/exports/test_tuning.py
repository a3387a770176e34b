"""Quantization-aware fine-tuning."""

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
from srkd.exports.tuning import _FakeInt8, tune
from srkd.models.fusing import fuse


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, 32, 40), np.float32) for _ in range(3)]


def test_fake_int8_rounds_as_int8_does():
    """To 255 steps of the input and 127 of each kernel, as computed by hand."""
    conv = nn.Conv2d(4, 5, 3, padding=1)
    layer, x = _FakeInt8(conv), torch.randn(8, 4, 16, 16)
    with torch.no_grad():
        assert torch.equal(layer(x), conv(x))
        layer.watching = False
        step = (x.max() - x.min()) / 255
        rounded = ((x / step).round() * step).clamp(x.min() - step, x.max() + step)
        steps = conv.weight.abs().amax((1, 2, 3), keepdim=True) / 127
        weight = (conv.weight / steps).round() * steps
        wanted = torch.nn.functional.conv2d(rounded, weight, conv.bias, padding=1)
        found = layer(x)
    # A value halfway between two steps may go either way; the zero point is rounded, and the output, too.
    coarse = (wanted.max() - wanted.min()) / 255
    assert (found - wanted).abs().max() <= 3 * float(step) + float(coarse)
    assert 128 < len(found.unique()) <= 256


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
        from srkd.exports import tuning

        rounded = tune(model, images, 0)
        layers = tuning._wrap(rounded)
        with torch.no_grad():
            for one in images:
                rounded(torch.from_numpy(one))
            for layer in layers:
                layer.watching = False
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
    assert "--tune takes" in fails(2, "export", networks["lr"], "--precision", "int8", "--tune", "-1")
