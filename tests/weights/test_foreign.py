"""Weights files of other packages."""

import numpy as np
import onnxruntime
import torch
from spandrel.architectures.SPAN import SPAN

import srkd
from srkd import create_generator, load_generator


def test_a_spandrel_file_loads(tmp_path):
    model, image = create_generator("compact_s", 2).eval(), torch.rand(1, 3, 8, 8)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    loaded = load_generator(tmp_path / "w.pth")
    assert loaded.scale == 2 and loaded.config is None and len(loaded.taps) == 8
    with torch.no_grad():
        assert torch.equal(loaded(image), model(image).clamp(0, 1))


def test_an_upstream_span_is_merged_once(tmp_path):
    """In training form: upstream's merges its kernels anew with every image, and torch's exporter crashed."""
    torch.manual_seed(0)
    upstream = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
    torch.save(upstream.state_dict(), tmp_path / "span.pth")
    x = torch.rand(1, 3, 16, 12)
    with torch.inference_mode():
        expected = upstream.eval()(x).clamp(0, 1)
    torch.testing.assert_close(load_generator(tmp_path / "span.pth")(x), expected, atol=1e-5, rtol=0)
    exported = srkd.export(tmp_path / "span.pth", out=tmp_path / "span.onnx", verbose=False)
    (found,) = onnxruntime.InferenceSession(exported).run(None, {"lr": x.numpy()})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
