"""`srkd export`."""

import importlib.util

import torch

import srkd
from srkd import load_generator


def test_export_safetensors_for_other_programs(tmp_path, weights):
    path = srkd.export(str(weights), format="safetensors", out=str(tmp_path / "w.safetensors"))
    a, b = (load_generator(p).state_dict() for p in (path, weights))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_file_beside_that_is_not_its_own_stays(fails, tmp_path, networks):
    """OpenVINO and ncnn both keep their weights in a `.bin`."""
    source = str(networks["compact"])
    path = srkd.export(source, format="ncnn", out=str(tmp_path / "x.param"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    error = fails(2, "export", source, "--format", "openvino", "--out", tmp_path / "x.xml")
    assert "x.bin exists and does not belong to x.xml" in error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    # Its own files it replaces.
    assert srkd.export(source, format="ncnn", out=str(path)) == path
    (tmp_path / "folder.xml").mkdir()
    error = fails(2, "export", source, "--format", "openvino", "--out", tmp_path / "folder.xml")
    assert "is a folder" in error and not (tmp_path / "folder.bin").exists()


def test_misuse(fails, tmp_path, networks, monkeypatch):
    source = networks["lr"]
    assert "not int8" in fails(2, "export", source, "--format", "ncnn", "--precision", "int8")
    assert "needs --precision int8" in fails(2, "export", source, "--calibrate", tmp_path)
    assert "does not end in .xml" in fails(
        2, "export", source, "--format", "openvino", "--out", tmp_path / "x.onnx"
    )
    assert "is the file to export" in fails(2, "export", source, "--format", "safetensors")
    assert "no branches" in fails(2, "export", source, "--branch", "0")
    assert "no folder" in fails(2, "export", source, "--precision", "int8", "--calibrate", tmp_path / "no")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pnnx" else real(name))
    assert "pip install 'srkd[ncnn]'" in fails(2, "export", source, "--format", "ncnn")
