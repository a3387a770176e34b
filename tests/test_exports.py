"""Every format, written and run in its own runtime, by our code and without it."""

import json
import re
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
from srkd.exports import formats
from srkd.exports.checks import BOUNDS, INT8_LOSS
from srkd.exports.formats import FORMATS
from srkd.images import read_image
from srkd.models import GENERATORS

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
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return expected(path, batch), file.metadata()["srkd"]


RUNTIMES = {
    "onnx": in_onnxruntime,
    "pt2": in_pt2,
    "openvino": in_openvino,
    "ncnn": in_ncnn,
    "safetensors": in_safetensors,
}


# All architectures in the formats that convert operators by themselves, in the others the most unlike.
CASES = [(name, format) for format in ("onnx", "ncnn") for name in SMALL]
CASES += [(name, format) for format in ("pt2", "openvino", "safetensors") for name in ("paper", "span")]


@pytest.mark.parametrize(("name", "format"), CASES)
def test_the_formats_own_runtime_computes_the_same(tmp_path, weights, name, format):
    """Sizes and batches that were not seen at conversion, and everything that is known about the network."""
    kind, batches = FORMATS[format], 1 if format == "ncnn" else 3
    path = srkd.export(str(weights[name]), format=format, out=str(tmp_path / f"out{kind.suffix}"))
    for size in ((19, 46), (5, 1)):
        batch = np.random.default_rng(1).random((batches, 3, *size), np.float32)
        found, header = RUNTIMES[format](path, batch)
        assert np.abs(found - expected(weights[name], batch)).max() <= BOUNDS["fp32"]
    facts = json.loads(header)
    assert facts["config"] == load_generator(weights[name]).config and facts["stage"] == "test"
    if format != "safetensors":
        assert (facts["scale"], facts["radius"]) == (4, load_generator(weights[name]).radius)
        assert (facts["license"], facts["precision"]) == ("unknown", "fp32") and facts["memory"] > 100
    named = {path.name} | {path.with_suffix(suffix).name for suffix in kind.beside}
    assert {p.name for p in tmp_path.iterdir()} == named
    if format == "onnx":
        proto = onnx.load(path)
        assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [18]
        assert facts["opset"] == 18
        assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}


def test_every_architecture_is_exported():
    assert {name for name, (_, options) in GENERATORS.items() if not options} == {
        n for n, _ in SMALL.values()
    }


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
    source = shutil.copy(weights["lr"], tmp_path / "w.safetensors")
    path = srkd.export(str(source), format=format, precision="fp16")
    assert path.name == f"w.fp16{FORMATS[format].suffix}"
    out = capsys.readouterr().out
    assert "where fp32 has" in out and "dB from one to the other" in out and "times its time" in out
    if format == "onnx":
        full = [t for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
        # The factors of the enlarged input alone.
        assert sum(int(np.prod(tensor.dims)) for tensor in full) <= 4
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in.png")
        made = srkd.upscale(str(tmp_path / "in.png"), str(tmp_path / "out.png"), weights=str(path))
        assert read_image(Path(made[0])).shape == (32, 32, 3)
    else:
        count = sum(p.numel() for p in load_generator(source).parameters())
        assert 2 * count <= path.with_suffix(".bin").stat().st_size < 3 * count
    batch = np.random.default_rng(1).random((1, 3, 19, 46), np.float32)
    found, header = RUNTIMES[format](path, batch)
    assert found.dtype == np.float32 and json.loads(header)["precision"] == "fp16"
    assert 0 < np.abs(found - expected(source, batch)).max() <= BOUNDS["fp16"]


def test_int8_is_calibrated_and_weighed(tmp_path, capsys):
    """The shipped student: less than 0.3 dB lost on photographs."""
    name = next(iter(srkd.catalog.list_shipped()))
    path = srkd.export(name, precision="int8", out=str(tmp_path / "a.onnx"))
    out = capsys.readouterr().out
    assert "calibrating on 12 images of scikit-image" in out
    found = re.search(r"([\d.]+) dB on 3 photographs where fp32 has ([\d.]+), ([\d.]+) dB from one to", out)
    assert found
    own, full, between = map(float, found.groups())
    assert full - INT8_LOSS <= own <= full + 0.05 and full > 30 and 40 < between < 70
    # All but the first and the last take their weights from int8.
    proto = onnx.load(path)
    made = {output: node.op_type for node in proto.graph.node for output in node.output}
    kinds = [made.get(node.input[1]) for node in proto.graph.node if node.op_type == "Conv"]
    assert len(kinds) > 10 and kinds == [None, *["DequantizeLinear"] * (len(kinds) - 2), None]
    image, header = in_onnxruntime(path, np.zeros((2, 3, 9, 7), np.float32))
    facts = json.loads(header)
    assert image.shape == (2, 3, 36, 28) and facts["precision"] == "int8"
    assert facts["scores"]["Set5"] and facts["license"] == "Apache-2.0"


def test_int8_on_images_of_ones_own(tmp_path, weights, photos, capsys):
    """They set the ranges: a folder of dark ones sets others."""
    dark = tmp_path / "dark"
    dark.mkdir()
    for path in photos.iterdir():
        Image.fromarray(read_image(path) // 2).save(dark / path.name)
    ranges = []
    for folder in (photos, dark):
        target = str(tmp_path / f"{folder.name}.onnx")
        path = srkd.export(str(weights["compact"]), precision="int8", calibrate=str(folder), out=target)
        assert f"calibrating on 6 images of {folder}" in capsys.readouterr().out
        stored = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
        ranges.append({key: t.SerializeToString() for key, t in stored.items() if key.endswith("_scale")})
    assert ranges[0].keys() == ranges[1].keys() and ranges[0] != ranges[1]


def test_int8_that_loses_too_much_is_not_written(tmp_path, monkeypatch, capsys):
    """Ranges calibrated on black say nothing about photographs."""
    name = next(iter(srkd.catalog.list_shipped()))
    black = [np.zeros((1, 3, 16, 16), np.float32)]
    monkeypatch.setattr(exports, "read_calibration", lambda folder, scale: black)
    error = fails(capsys, 1, "export", name, "--precision", "int8", "--out", tmp_path / "x.onnx")
    assert "int8 loses" in error and "--calibrate" in error
    assert not list(tmp_path.iterdir())


def test_calibration_takes_the_middle_of_a_few_dozen_images(tmp_path):
    from srkd.exports.int8 import read_calibration

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


def test_write_onnx_takes_facts_and_precision(tmp_path, weights, capsys):
    model = load_generator(weights["compact"])
    exports.write_onnx(model, tmp_path / "x.onnx", "fp16", note="cached")
    assert capsys.readouterr().out == ""
    batch = np.random.default_rng(1).random((2, 3, 11, 8), np.float32)
    found, header = in_onnxruntime(tmp_path / "x.onnx", batch)
    assert np.abs(found - expected(weights["compact"], batch)).max() <= BOUNDS["fp16"]
    facts = json.loads(header)
    assert (facts["note"], facts["precision"], facts["stage"]) == ("cached", "fp16", "test")


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "safetensors"])
def test_a_wrong_conversion_is_not_written(tmp_path, weights, monkeypatch, format):
    """A converter that changes a weight on its way."""
    kind = FORMATS[format]

    def corrupted(request, path):
        # Before the network is converted, which happens at the first write.
        with torch.no_grad():
            next(p for p in request.fused.parameters() if p.dim() == 4).add_(0.01)
        kind.write(request, path)

    monkeypatch.setitem(exports.FORMATS, format, kind._replace(write=corrupted))
    with pytest.raises(SrkdError, match="differs from torch"):
        srkd.export(str(weights["lr"]), format=format, out=str(tmp_path / f"x{kind.suffix}"))
    assert not list(tmp_path.iterdir())


def test_an_export_that_sees_one_image_of_a_batch_is_not_written(tmp_path, weights, monkeypatch):
    kind = FORMATS["safetensors"]

    def first_only(path):
        run = kind.open(path)
        return lambda batch: np.repeat(run(batch[:1]), len(batch), 0)

    monkeypatch.setitem(exports.FORMATS, "safetensors", kind._replace(open=first_only))
    with pytest.raises(SrkdError, match="differs from torch"):
        srkd.export(str(weights["lr"]), format="safetensors", out=str(tmp_path / "x.safetensors"))
    assert not list(tmp_path.iterdir())


def test_a_network_that_makes_nan_is_not_written(tmp_path):
    model = build("lr")
    with torch.no_grad():
        model.head[0].weight.fill_(float("inf"))
    path = save_generator(model, tmp_path / "w.safetensors")
    with pytest.raises(SrkdError, match="differs"):
        srkd.export(str(path), format="pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.*")
def test_layers_that_ncnn_lacks_are_named(tmp_path):
    class Spectrum(torch.nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real

    request = formats.Request(None, Spectrum(), lambda: None, {}, "fp32", [])
    with pytest.raises(SrkdError, match=r"ncnn has no layer for .*fft"):
        FORMATS["ncnn"].write(request, tmp_path / "x.param")
    assert not list(tmp_path.iterdir())


def test_a_file_beside_that_is_not_its_own_stays(capsys, tmp_path, weights):
    """OpenVINO and ncnn both keep their weights in a `.bin`."""
    source = str(weights["compact"])
    path = srkd.export(source, format="ncnn", out=str(tmp_path / "x.param"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    error = fails(capsys, 2, "export", source, "--format", "openvino", "--out", tmp_path / "x.xml")
    assert "x.bin exists and does not belong to x.xml" in error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    # Its own files it replaces.
    assert srkd.export(source, format="ncnn", out=str(path)) == path
    (tmp_path / "folder.xml").mkdir()
    error = fails(capsys, 2, "export", source, "--format", "openvino", "--out", tmp_path / "folder.xml")
    assert "is a folder" in error and not (tmp_path / "folder.bin").exists()


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
