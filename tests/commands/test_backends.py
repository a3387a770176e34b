"""Runtimes as they are listed and chosen."""

import importlib.util
import re
import tomllib
from importlib.metadata import PackageNotFoundError
from typing import get_args

import torch
from conftest import ROOT
from PIL import Image

import srkd
from srkd.cli import main
from srkd.commands import backends as backends_command
from srkd.runtimes import RUNTIMES, Backend


def test_backends_are_listed(capsys):
    assert main(["backends"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in RUNTIMES) and torch.__version__.split("+")[0] in out
    rows = srkd.list_backends(verbose=False)
    assert [row["name"] for row in rows] == list(RUNTIMES) and capsys.readouterr().out == ""
    assert all(row.keys() == {"name", "version", "runs"} and row["version"] for row in rows)


def test_what_is_not_installed_names_its_extra(monkeypatch, capsys):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(backends_command, "version", missing)
    monkeypatch.setenv("COLUMNS", "200")
    assert {row["version"] for row in srkd.list_backends()} == {""}
    out = capsys.readouterr().out
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for runtime in RUNTIMES.values():
        extra = runtime.extra
        assert f"'srkd[{extra}]'" in out if extra else "'srkd'" in out
        brought = project["optional-dependencies"][extra] if extra else project["dependencies"]
        assert any(re.match(rf"{runtime.package}\b", line) for line in brought)


def test_every_runtime_can_be_asked_for():
    assert get_args(Backend) == ("auto", *RUNTIMES)
    for runtime in RUNTIMES.values():
        module = importlib.import_module(runtime.module)
        assert callable(module.open_runner)


def test_wrong_backends(fails, tmp_path, photo, onnx_file, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "x.png")
    words = ["upscale", tmp_path / "x.png", "-o", tmp_path / "y.png"]
    assert "ONNX file" in fails(2, *words, "-w", onnx_file, "--backend", "torch")
    assert "--backend torch" in fails(
        2, *words, "-w", onnx_file, "--device", "cuda", "--backend", "onnxruntime"
    )
    assert "--precision" in fails(2, *words, "-w", onnx_file, "--precision", "fp16")
    assert "not an ncnn file" in fails(2, *words, "-w", onnx_file, "--backend", "ncnn")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "srkd[openvino]" in fails(2, *words, "-w", onnx_file, "--backend", "openvino")
