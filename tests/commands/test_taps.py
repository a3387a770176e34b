"""The taps of a network."""

import srkd
from srkd.cli import main


def test_taps_are_listed(capsys, teacher):
    assert main(["models", "--taps", "srgan_tiny"]) == 0
    shown = capsys.readouterr().out
    assert "body.0" in shown and "fuse" in shown and "1.000" in shown
    rows = srkd.list_models(taps=str(teacher / "pretrain.safetensors"))
    assert rows[-1] == {"name": "fuse", "depth": 1.0, "channels": 16}
    assert main(["models", "--taps", "nothing"]) == 2
