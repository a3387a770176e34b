"""LiteRT and Core ML: exact rewrites, files in their own runtime, what phones' GPUs run."""

import importlib
import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from conftest import NETWORKS
from torch import nn

import srkd
from srkd import SrkdError, load_generator
from srkd.exports.checks import BOUNDS
from srkd.exports.rewrites import SplitPReLU, TransposedShuffle, rewrite_for_gpu
from srkd.models.fusing import fuse


def expected(path, batch):
    with torch.no_grad():
        return load_generator(path)(torch.from_numpy(batch)).numpy()


# Rewrites


@pytest.mark.parametrize("name", NETWORKS)
def test_rewrites_are_exact(networks, name):
    model = fuse(load_generator(networks[name]))
    batch = torch.randn(2, 3, 11, 14)
    found = rewrite_for_gpu(model, torch.zeros(1, 3, 8, 8))
    assert not [one for one in found.modules() if isinstance(one, nn.PReLU | nn.PixelShuffle)]
    with torch.no_grad():
        # Convolutions of other shapes may sum in another order; the rewrites themselves are equal, below.
        assert (found(batch) - model(batch)).abs().max() <= 1e-6
    assert [one for one in model.modules() if isinstance(one, nn.PixelShuffle)], "the original is as it was"


def test_each_rewrite_gives_the_same_bits():
    x = torch.randn(2, 36, 5, 7)
    for scale, channels in ((2, 9), (3, 4), (6, 1)):
        assert torch.equal(TransposedShuffle(scale, channels)(x), nn.PixelShuffle(scale)(x))
    layer = nn.PReLU(36)
    with torch.no_grad():
        layer.weight.uniform_(-2, 2)
        assert torch.equal(SplitPReLU(layer)(x), layer(x))
        assert torch.equal(SplitPReLU(nn.PReLU())(x), nn.PReLU()(x))


# LiteRT


@pytest.fixture
def litert():
    for package in ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"):
        pytest.importorskip(package)
    return importlib.import_module("srkd.exports.litert")


def in_litert(path, batch):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path))
    assert list(runner.get_signature_list()) == ["serving_default"]
    runner = runner.get_signature_runner()
    (name,) = runner.get_input_details()
    (found,) = runner(**{name: np.ascontiguousarray(batch.transpose(0, 2, 3, 1))}).values()
    return found.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_litert_runs_on_phones_gpus(tmp_path, networks, litert, name):
    path = srkd.export(str(networks[name]), format="litert", size="34x21", out=str(tmp_path / "x.tflite"))
    batch = np.random.default_rng(1).random((1, 3, 21, 34), np.float32)
    assert np.abs(in_litert(path, batch) - expected(networks[name], batch)).max() <= BOUNDS["fp32"]
    facts = json.loads(litert.read_facts(path))
    assert facts["size"] == [21, 34] and facts["scale"] == 4 and facts["precision"] == "fp32"
    assert litert.find_foreign(path) == []
    # The delegate's own judgement, which comes with the runtime.
    analyzer = pytest.importorskip("ai_edge_litert._pywrap_analyzer_wrapper")
    said = analyzer.ModelAnalyzer(str(path), True, True)
    assert "looks compatible with GPU delegate" in said and "GPU COMPATIBILITY WARNING" not in said
    # Channels stay last from the input to the output.
    assert "TRANSPOSE(" not in said and "RESHAPE(" not in said


def test_litert_in_half_precision_and_with_other_names(tmp_path, networks, litert, capsys):
    options = {"format": "litert", "size": "24x24", "batch": 2, "names": "image,enlarged"}
    source = str(networks["lr"])
    out = str(tmp_path / "x.tflite")
    path = srkd.export(source, precision="fp16", out=out, **options)
    plain = srkd.export(source, out=str(tmp_path / "y.tflite"), **options)
    assert path.stat().st_size < 0.75 * plain.stat().st_size
    batch = np.random.default_rng(1).random((2, 3, 24, 24), np.float32)
    assert 0 < np.abs(in_litert(path, batch) - expected(networks["lr"], batch)).max() <= BOUNDS["fp16"]
    from ai_edge_litert.interpreter import Interpreter

    assert Interpreter(str(path)).get_signature_list()["serving_default"] == {
        "inputs": ["image"],
        "outputs": ["enlarged"],
    }
    captured = capsys.readouterr()
    assert captured.err == "" and "Quantized model size" not in captured.out
    assert litert.find_foreign(path) == []


def test_litert_in_int8(tmp_path, litert, capsys):
    """The shipped Compact: pixels go in and come out as floats, what lies between is int8."""
    path = srkd.export("compact_48x8_psnr", format="litert", precision="int8", out=str(tmp_path / "x.tflite"))
    assert "dB on 3 photographs" in capsys.readouterr().out
    model, schema = litert._read(path.read_bytes())
    (graph,) = model.subgraphs
    kinds = litert._name_operators(model, schema)
    convolutions = [one for one in graph.operators if kinds[one.opcodeIndex] == "CONV_2D"]
    types = [graph.tensors[one.inputs[1]].type for one in convolutions]
    assert types == [schema.TensorType.FLOAT32, *[schema.TensorType.INT8] * 8, schema.TensorType.FLOAT32]
    ends = [graph.tensors[index].type for index in (*graph.inputs, *graph.outputs)]
    assert ends == [schema.TensorType.FLOAT32] * 2
    assert litert.find_foreign(path) == []


def test_what_a_phones_gpu_does_not_run_is_named(tmp_path, networks, litert, monkeypatch):
    monkeypatch.setattr(litert, "GPU_OPERATORS", litert.GPU_OPERATORS - {"RELU"})
    monkeypatch.setattr(litert, "GPU_AXES", 3)
    with pytest.raises(SrkdError, match="GPU delegate does not run RELU, tensors of 4 axes; nothing was"):
        srkd.export(str(networks["compact"]), format="litert", size="8x8", out=str(tmp_path / "x.tflite"))
    assert not list(tmp_path.iterdir())


def test_a_damaged_litert_file(tmp_path, litert):
    from srkd.runtimes.litert import open_file

    (tmp_path / "x.tflite").write_bytes(b"no model" * 20)
    with pytest.raises(SrkdError, match="is not a model that LiteRT can open"):
        open_file(tmp_path / "x.tflite")


# Core ML


@pytest.fixture
def coreml():
    pytest.importorskip("coremltools")
    return importlib.import_module("srkd.exports.coreml")


@pytest.mark.parametrize("name", NETWORKS)
def test_core_ml_packages(tmp_path, networks, coreml, capsys, name):
    out = str(tmp_path / "x.mlpackage")
    path = srkd.export(str(networks[name]), format="coreml", size="28x20", license="MIT", out=out)
    said = capsys.readouterr().out
    assert ("runs on a Mac alone" in said) == (sys.platform != "darwin")
    package = coreml.import_coremltools().models.MLModel(str(path), skip_model_load=True)
    spec = package.get_spec()
    (entry,), (result,) = spec.description.input, spec.description.output
    assert (entry.name, list(entry.type.multiArrayType.shape)) == ("lr", [1, 3, 20, 28])
    assert (result.name, list(result.type.multiArrayType.shape)) == ("sr", [1, 3, 80, 112])
    facts = json.loads(package.user_defined_metadata["srkd"])
    assert facts["size"] == [20, 28] and facts["license"] == package.license == "MIT"
    batch = np.random.default_rng(1).random((1, 3, 20, 28), np.float32)
    assert np.abs(coreml.open_file(path)(batch) - expected(networks[name], batch)).max() <= BOUNDS["fp32"]
    # Written again, it takes the place of the former.
    again = srkd.export(str(networks[name]), format="coreml", size="8x8", out=out)
    assert again == path and [p.name for p in tmp_path.iterdir()] == ["x.mlpackage"]
    spec = coreml.import_coremltools().models.MLModel(str(path), skip_model_load=True).get_spec()
    assert list(spec.description.input[0].type.multiArrayType.shape) == [1, 3, 8, 8]


def test_core_ml_in_half_precision(tmp_path, networks, coreml, capsys):
    out = str(tmp_path / "x.mlpackage")
    path = srkd.export(str(networks["span"]), format="coreml", precision="fp16", size="16x16", out=out)
    batch = np.random.default_rng(1).random((1, 3, 16, 16), np.float32)
    found = coreml.open_file(path)(batch)
    # torch's time is not Core ML's.
    assert ("fp32 run time" in capsys.readouterr().out) == (sys.platform == "darwin")
    assert 0 < np.abs(found - expected(networks["span"], batch)).max() <= BOUNDS["fp16"]


def test_a_core_ml_operation_that_is_not_known_here(tmp_path, networks, coreml, monkeypatch):
    monkeypatch.delitem(coreml.OPERATIONS, "leaky_relu")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(SrkdError, match="Core ML's leaky_relu cannot be checked here"):
        srkd.export(str(networks["compact"]), format="coreml", size="8x8", out=str(tmp_path / "x.mlpackage"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_package_stays(tmp_path, networks, coreml, fails):
    (tmp_path / "x.mlpackage").mkdir()
    (tmp_path / "x.mlpackage" / "mine").write_text("", encoding="utf-8")
    error = fails(2, "export", networks["lr"], "--format", "coreml", "--out", tmp_path / "x.mlpackage")
    assert "is a folder" in error and (tmp_path / "x.mlpackage" / "mine").exists()


@pytest.mark.parametrize(("format", "package"), [("litert", "litert_torch"), ("coreml", "coremltools")])
def test_a_missing_package_names_its_extra(fails, networks, tmp_path, monkeypatch, format, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else real(name))
    error = fails(2, "export", networks["lr"], "--format", format, "--out", tmp_path / "x")
    assert f"pip install 'srkd[{format}]'" in error
