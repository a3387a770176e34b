"""`srkd models`."""

import pytest

import srkd
from srkd.weights.catalogue import list_shipped


def test_every_named_size_and_all_shipped_weights_are_listed(capsys):
    rows = {row["name"]: row for row in srkd.list_models(scale=2)}
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("srgan_teacher", "compact_m", "receptive field", "span_s_gan"))
    assert rows["srgan_tiny"]["receptive_field"] == 29 and rows["span_s"]["parameters"] > 100_000
    for name, entry in list_shipped().items():
        assert rows[name]["use"] == entry["use"] and name in shown and entry["use"].split()[-1] in shown
        assert rows[name]["psnr"] == entry["scores"]["Set5"]["psnr"] and rows[name]["lpips"] < 0.2


def test_an_impossible_scale():
    with pytest.raises(srkd.UsageError, match="scale"):
        srkd.list_models(scale=5)
