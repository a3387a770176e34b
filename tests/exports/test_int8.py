"""Calibration and int8."""

import json
import re

import numpy as np
import onnx
from conftest import in_onnxruntime
from PIL import Image

import srkd
from srkd.exports import int8
from srkd.exports.checks import INT8_LOSS
from srkd.exports.int8 import read_calibration
from srkd.images.reading import read_image
from srkd.weights.catalogue import list_shipped


def test_int8_is_calibrated_and_weighed(tmp_path, capsys):
    """The shipped student: less than 0.3 dB lost on photographs."""
    name = next(iter(list_shipped()))
    path = srkd.export(name, precision="int8", out=str(tmp_path / "a.onnx"))
    out = capsys.readouterr().out
    assert "calibrating on 12 images of scikit-image" in out
    found = re.search(r"([\d.]+) dB on 3 photographs \(fp32: ([\d.]+) dB\), ([\d.]+) dB between", out)
    assert found
    own, full, between = map(float, found.groups())
    assert full - INT8_LOSS <= own <= full + 0.05 and full > 30 and 40 < between < 70
    # All but the first, the last and those that are named take their weights from int8, in seven bits.
    proto = onnx.load(path)
    named = re.search(r"; ([\w., ]+) in float32: int8 harms images most there", out)
    assert named
    floats = named[1].split(", ")
    kernels = [node.input[1] for node in proto.graph.node if node.op_type == "Conv"]
    assert len(kernels) > 10 and 0 < len(floats) <= len(kernels) / 4
    inside = [kernel for kernel in kernels[1:-1] if kernel.removesuffix(".weight") not in floats]
    assert [kernel for kernel in kernels if kernel.endswith("_DequantizeLinear_Output")] == inside
    assert len(inside) == len(kernels) - 2 - len(floats)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    rounded = [values for name, values in stored.items() if name.endswith(".weight_quantized")]
    assert len(rounded) == len(inside) and all(abs(values.astype(int)).max() <= 64 for values in rounded)
    image, header = in_onnxruntime(path, np.zeros((2, 3, 9, 7), np.float32))
    facts = json.loads(header)
    assert image.shape == (2, 3, 36, 28) and facts["precision"] == "int8"
    assert facts["scores"]["Set5"] and facts["license"] == "Apache-2.0"


def test_int8_on_images_of_ones_own(tmp_path, networks, photos, capsys):
    """They set the ranges: a folder of dark ones sets others."""
    dark = tmp_path / "dark"
    dark.mkdir()
    for path in photos.iterdir():
        Image.fromarray(read_image(path) // 2).save(dark / path.name)
    ranges = []
    for folder in (photos, dark):
        target = str(tmp_path / f"{folder.name}.onnx")
        path = srkd.export(str(networks["compact"]), precision="int8", calibrate=str(folder), out=target)
        assert f"calibrating on 6 images of {folder}" in capsys.readouterr().out
        stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
        ranges.append({key: t.SerializeToString() for key, t in stored.items() if key.endswith("_scale")})
    assert ranges[0].keys() == ranges[1].keys() and ranges[0] != ranges[1]


def test_int8_that_loses_too_much_is_not_written(tmp_path, monkeypatch, fails):
    """Ranges calibrated on black say nothing about photographs."""
    name = next(iter(list_shipped()))
    black = [np.zeros((1, 3, 16, 16), np.float32)]
    monkeypatch.setattr(int8, "read_calibration", lambda folder, scale, degradation: black)
    error = fails(1, "export", name, "--precision", "int8", "--tune", "0", "--out", tmp_path / "x.onnx")
    assert "int8 loses" in error and "--calibrate" in error
    assert not list(tmp_path.iterdir())


def test_calibration_takes_the_middle_of_a_few_dozen_images(tmp_path):
    image = np.zeros((800, 900, 3), np.uint8)
    image[360:440, 410:490] = 255
    for number in range(40):
        Image.fromarray(image).save(tmp_path / f"{number:02}.png")
    found = read_calibration(str(tmp_path), 4)
    assert len(found) == 20
    assert {array.shape for array in found} == {(1, 3, 192, 192)}
    assert (
        found[0].max() == 1
        and found[0][..., 92:100, 92:100].min() > 0.99
        and found[0][..., :40, :].max() == 0
    )
