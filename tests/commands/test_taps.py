"""`srkd taps`."""

import pytest

import srkd


def test_taps_of_a_name_and_of_weights(capsys, teacher):
    rows = srkd.list_taps("srgan_tiny", scale=2)
    assert [row["name"] for row in rows] == ["body.0", "body.1", "body.2", "body.3", "fuse"]
    assert "0.200" in (shown := capsys.readouterr().out) and "fuse" in shown
    rows = srkd.list_taps(teacher / "pretrain.safetensors", verbose=False)
    assert rows[-1] == {"name": "fuse", "depth": 1.0, "channels": 16} and capsys.readouterr().out == ""


def test_misuse(onnx_file):
    with pytest.raises(srkd.UsageError, match="no weights file nothing"):
        srkd.list_taps("nothing")
    with pytest.raises(srkd.UsageError, match="2, 3, 4"):
        srkd.list_taps("srgan_tiny", scale=5)
    with pytest.raises(srkd.UsageError, match="no layers that are known"):
        srkd.list_taps(onnx_file)
