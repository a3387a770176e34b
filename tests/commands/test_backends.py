"""Runtimes as they are listed and chosen."""

import importlib.util

import torch
from PIL import Image

from srkd.cli import main
from srkd.runtimes import RUNTIMES


def test_backends_are_listed(capsys):
    assert main(["upscale", "--list_backends"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in RUNTIMES) and torch.__version__.split("+")[0] in out


def test_wrong_backends(fails, tmp_path, photo, onnx_file, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "x.png")
    words = ["upscale", tmp_path / "x.png", "-o", tmp_path / "y.png"]
    assert "ONNX file" in fails(2, *words, "-w", onnx_file, "--backend", "torch")
    assert "--backend torch" in fails(
        2, *words, "-w", onnx_file, "--device", "cuda", "--backend", "onnxruntime"
    )
    assert "--precision" in fails(2, *words, "-w", onnx_file, "--precision", "fp16")
    (tmp_path / "w.pth").write_bytes(b"x")
    assert "--backend torch" in fails(2, *words, "-w", tmp_path / "w.pth", "--backend", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "srkd[openvino]" in fails(2, *words, "-w", onnx_file, "--backend", "openvino")
