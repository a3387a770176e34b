"""`srkd models`."""

import pytest
from conftest import run_python, write_compact

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


def test_any_file_is_measured(tmp_path, onnx_file, weights, capsys):
    """srkd's own, spandrel's, ONNX and ncnn; the same network counts the same in each."""
    ncnn = srkd.export(weights, format="ncnn", out=tmp_path / "tiny.param")
    files = [weights, onnx_file, ncnn, write_compact(tmp_path), "span_s_gan"]
    capsys.readouterr()
    rows = srkd.list_models(files, threads=1)
    shown = capsys.readouterr().out
    assert [row["name"] for row in rows] == [getattr(f, "name", f) for f in files] and "ncnn" in shown
    own, foreign = rows[0], rows[3]
    assert own["parameters"] == 31_824 and own["macs"] == pytest.approx(1.8e9, rel=0.05)
    for row in rows[1:3]:
        # ONNX keeps equal arrays once, and the slopes of fresh PReLUs are equal.
        assert row["parameters"] == pytest.approx(own["parameters"], rel=0.003)
        assert row["macs"] == pytest.approx(own["macs"], rel=0.001)
    # Three convolutions of 8 channels between 3 and 48, by hand.
    assert foreign["parameters"] == (27 * 8 + 8) + 2 * (72 * 8 + 8) + 3 * 8 + (72 * 48 + 48)
    assert foreign["macs"] == (27 * 8 + 2 * 72 * 8 + 72 * 48) * 320 * 180
    assert all(row["seconds"] > 0 and row["scale"] == 4 for row in rows)
    assert [row["runtime"] for row in rows[1:4]] == ["ONNX Runtime, CPU", "ncnn, CPU", "torch, cpu"]


def test_a_file_that_is_none(fails, tmp_path):
    assert "no weights file" in fails(2, "models", tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(b"nothing")
    assert "no weights that can be loaded" in fails(1, "models", tmp_path / "x.pth")


def test_the_shipped_are_listed_without_torch():
    program = "import sys; sys.modules['torch'] = None\n"
    program += "import importlib.util as u; real = u.find_spec\n"
    program += "u.find_spec = lambda name, *a: None if name == 'torch' else real(name, *a)\n"
    program += "import srkd; print(len(srkd.list_models(verbose=False)), srkd.list_models()[0]['parameters'])"
    out = run_python(program)
    assert f"{len(list_shipped())} 194608" in out and "where srkd[train] is installed" in out
