"""Every format, written and run in its own runtime, by our code and without it."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import spandrel
import torch
from conftest import fails
from PIL import Image

import srkd
from srkd import SrkdError, create_generator, exports, load_generator, save_generator
from srkd.exports import BOUNDS, FORMATS
from srkd.images import read_image

SMALL = {
    "paper": ("srgan", {"channels": 8, "blocks": 1, "norm": "bn"}),
    "lr": ("srgan", {"channels": 8, "blocks": 1, "tail": "lr", "skip": "bilinear"}),
    "nearest": ("srgan", {"channels": 8, "blocks": 1, "tail": "lr", "skip": "nearest"}),
    "compact": ("compact", {"channels": 8, "convs": 2}),
    "span": ("span", {"channels": 8}),
    "branched": ("branched", {"channels": 8, "blocks": 1, "branches": 2, "branch_blocks": 1}),
}


def build(name, scale=4):
    torch.manual_seed(0)
    architecture, options = SMALL[name]
    model = create_generator(architecture, scale, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Weights of every architecture, by its name in SMALL."""
    folder = tmp_path_factory.mktemp("weights")
    return {name: save_generator(build(name), folder / f"{name}.safetensors", stage="test") for name in SMALL}


def expected(path, batch):
    with torch.no_grad():
        return load_generator(path)(torch.from_numpy(batch)).numpy()


def in_onnxruntime(path, batch):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["sr"], {"lr": batch})[0], session.get_modelmeta().custom_metadata_map["srkd"]


def in_pt2(path, batch):
    files = {"srkd.json": ""}
    program = torch.export.load(path, extra_files=files)
    return program.module()(torch.from_numpy(batch)).detach().numpy(), files["srkd.json"]


def in_openvino(path, batch):
    import openvino

    model = openvino.Core().read_model(path)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.compile_model(model, "CPU", settings)(batch)[0]
    return np.array(found), model.get_rt_info("srkd").astype(str)


def in_ncnn(path, batch):
    import ncnn

    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    image = np.ascontiguousarray(batch[0])
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(image))
    return np.array(extractor.extract("output")[1])[None], path.with_suffix(".json").read_text()


def in_safetensors(path, batch):
    from srkd.catalog import read_header

    return expected(path, batch), json.dumps({**read_header(path), "scale": 4, "license": "Apache-2.0"})


RUNTIMES = {
    "onnx": in_onnxruntime,
    "pt2": in_pt2,
    "openvino": in_openvino,
    "ncnn": in_ncnn,
    "safetensors": in_safetensors,
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["paper", "lr", "span"])
def test_the_formats_own_runtime_computes_the_same(tmp_path, weights, name, format):
    """A size that was not seen at conversion, and everything that is known about the network."""
    path = srkd.export(str(weights[name]), format=format, out=str(tmp_path / f"out{FORMATS[format].suffix}"))
    batch = np.random.default_rng(1).random((1, 3, 19, 46), np.float32)
    found, header = RUNTIMES[format](path, batch)
    assert np.abs(found - expected(weights[name], batch)).max() <= BOUNDS["fp32"]
    facts = json.loads(header)
    assert facts["config"]["name"] == SMALL[name][0] and facts["stage"] == "test"
    assert facts["scale"] == 4 and facts["license"] == "Apache-2.0"
    named = {path.name} | {path.with_suffix(suffix).name for suffix in FORMATS[format].beside}
    assert {p.name for p in tmp_path.iterdir()} == named


@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_becomes_onnx(tmp_path, weights, name):
    path = srkd.export(str(weights[name]), out=str(tmp_path / "x.onnx"))
    batch = np.random.default_rng(1).random((3, 3, 19, 8), np.float32)
    found, header = in_onnxruntime(path, batch)
    assert np.abs(found - expected(weights[name], batch)).max() <= BOUNDS["fp32"]
    facts = json.loads(header)
    assert facts["radius"] == load_generator(weights[name]).radius and facts["opset"] == 18
    assert facts["memory"] > 100
    proto = onnx.load(path)
    assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [18]
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize("name", ["nearest", "compact", "branched"])
def test_the_other_architectures_become_ncnn(tmp_path, weights, name):
    path = srkd.export(str(weights[name]), format="ncnn", out=str(tmp_path / "x.param"))
    batch = np.random.default_rng(1).random((1, 3, 33, 20), np.float32)
    assert np.abs(in_ncnn(path, batch)[0] - expected(weights[name], batch)).max() <= BOUNDS["fp32"]


@pytest.mark.parametrize("name", ["compact", "span"])
def test_spandrel_runs_what_is_exported(tmp_path, weights, name):
    path = srkd.export(str(weights[name]), format="safetensors", out=str(tmp_path / "x.safetensors"))
    batch = np.random.default_rng(1).random((1, 3, 20, 14), np.float32)
    descriptor = spandrel.ModelLoader().load_from_file(path)
    with torch.no_grad():
        found = descriptor.model.eval()(torch.from_numpy(batch)).numpy()
    assert np.abs(found - expected(weights[name], batch)).max() <= 1e-6


@pytest.mark.parametrize("format", ["onnx", "openvino", "ncnn"])
def test_half_precision(tmp_path, weights, capsys, format):
    suffix = FORMATS[format].suffix
    paths = [
        srkd.export(str(weights["lr"]), format=format, precision=kind, out=str(tmp_path / f"{kind}{suffix}"))
        for kind in ("fp32", "fp16")
    ]
    assert "where fp32 has" in capsys.readouterr().out
    sizes = [path.with_suffix(".bin" if format != "onnx" else ".onnx").stat().st_size for path in paths]
    assert sizes[1] < 0.75 * sizes[0]
    batch = np.random.default_rng(1).random((1, 3, 19, 46), np.float32)
    gap = np.abs(RUNTIMES[format](paths[1], batch)[0] - expected(weights["lr"], batch)).max()
    assert 0 < gap <= BOUNDS["fp16"]


def test_int8_is_calibrated_and_weighed(tmp_path, capsys):
    """The shipped student: less than 0.3 dB lost on photographs."""
    name = next(iter(srkd.catalog.list_shipped()))
    path = srkd.export(name, precision="int8", out=str(tmp_path / "a.onnx"))
    out = capsys.readouterr().out
    assert "calibrating on 12 images of scikit-image" in out and "dB on 3 photographs where fp32 has" in out
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert "QuantizeLinear" in kinds and "DequantizeLinear" in kinds
    assert json.loads(in_onnxruntime(path, np.zeros((1, 3, 9, 9), np.float32))[1])["scores"]["Set5"]


def test_int8_on_images_of_ones_own(tmp_path, weights, capsys):
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).resize((40, 40), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
    options = {"precision": "int8", "calibrate": str(tmp_path)}
    try:
        path = srkd.export(str(weights["lr"]), out=str(tmp_path / "x.onnx"), **options)
        assert "QuantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}
    except SrkdError as error:  # random weights may bear it badly
        assert "int8 loses" in str(error) and not (tmp_path / "x.onnx").exists()
    assert f"calibrating on 3 images of {tmp_path}" in capsys.readouterr().out


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "safetensors"])
def test_a_wrong_conversion_is_not_written(tmp_path, weights, monkeypatch, format):
    """A converter that changes a weight on its way."""
    kind = FORMATS[format]

    def corrupted(request, path):
        with torch.no_grad():
            next(p for p in request.fused.parameters() if p.dim() == 4).add_(0.01)
        kind.write(request, path)

    monkeypatch.setitem(exports.FORMATS, format, kind._replace(write=corrupted))
    with pytest.raises(SrkdError, match="differs from torch"):
        srkd.export(str(weights["lr"]), format=format, out=str(tmp_path / f"x{kind.suffix}"))
    assert not list(tmp_path.iterdir())


def test_a_network_that_makes_nan_is_not_written(tmp_path):
    model = build("lr")
    with torch.no_grad():
        model.head[0].weight.fill_(float("inf"))
    path = save_generator(model, tmp_path / "w.safetensors")
    with pytest.raises(SrkdError, match="differs"):
        srkd.export(str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_misuse(capsys, tmp_path, weights, monkeypatch):
    source = weights["lr"]
    assert "not int8" in fails(capsys, 2, "export", source, "--format", "ncnn", "--precision", "int8")
    assert "--precision int8" in fails(capsys, 2, "export", source, "--calibrate", tmp_path)
    assert "does not end in .xml" in fails(
        capsys, 2, "export", source, "--format", "openvino", "--out", tmp_path / "x.onnx"
    )
    assert "is the file to export" in fails(capsys, 2, "export", source, "--format", "safetensors")
    assert "no branches" in fails(capsys, 2, "export", source, "--branch", "0")
    assert "no folder" in fails(
        capsys, 2, "export", source, "--precision", "int8", "--calibrate", tmp_path / "no"
    )
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pnnx" else real(name))
    assert "pip install 'srkd[ncnn]'" in fails(capsys, 2, "export", source, "--format", "ncnn")


def test_precisions_have_names_of_their_own(tmp_path, weights):
    source = tmp_path / "w.safetensors"
    shutil.copy(weights["compact"], source)
    assert srkd.export(str(source)).name == "w.onnx"
    assert srkd.export(str(source), precision="fp16").name == "w.fp16.onnx"
    image = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "in.png")
    for name in ("w.onnx", "w.fp16.onnx"):
        out = srkd.upscale(
            str(tmp_path / "in.png"), str(tmp_path / f"{name}.png"), weights=str(tmp_path / name)
        )
        assert read_image(Path(out[0])).shape == (32, 32, 3)
