"""A wrong conversion is not written."""

import numpy as np
import pytest
import torch
from conftest import NETWORKS, build_network

import srkd
from srkd import SrkdError, save_generator
from srkd.exports import formats
from srkd.exports.formats import FORMATS


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "safetensors"])
def test_a_wrong_conversion_is_not_written(tmp_path, networks, monkeypatch, format):
    """A converter that changes a weight on its way."""
    kind = FORMATS[format]
    for package in kind.packages:
        pytest.importorskip(package)

    def corrupted(request, path):
        # Before the network is converted, which happens at the first write.
        with torch.no_grad():
            next(p for p in request.fused.parameters() if p.dim() == 4).add_(0.01)
        kind.write(request, path)

    monkeypatch.setitem(formats.FORMATS, format, kind._replace(write=corrupted))
    size = {"size": "16x16"} if kind.shape.size else {}
    with pytest.raises(SrkdError, match="differs from torch"):
        srkd.export(str(networks["lr"]), format=format, out=str(tmp_path / f"x{kind.suffix}"), **size)
    assert not list(tmp_path.iterdir())


def test_an_export_that_sees_one_image_of_a_batch_is_not_written(tmp_path, networks, monkeypatch):
    kind = FORMATS["safetensors"]

    def first_only(path):
        run = kind.open(path)
        return lambda batch: np.repeat(run(batch[:1]), len(batch), 0)

    monkeypatch.setitem(formats.FORMATS, "safetensors", kind._replace(open=first_only))
    with pytest.raises(SrkdError, match="differs from torch"):
        srkd.export(str(networks["lr"]), format="safetensors", out=str(tmp_path / "x.safetensors"))
    assert not list(tmp_path.iterdir())


def test_a_network_that_makes_nan_is_not_written(tmp_path):
    model = build_network(*NETWORKS["lr"])
    with torch.no_grad():
        model.head[0].weight.fill_(float("inf"))
    path = save_generator(model, tmp_path / "w.safetensors")
    with pytest.raises(SrkdError, match="differs"):
        srkd.export(str(path), format="pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
