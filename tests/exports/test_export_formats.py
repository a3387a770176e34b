"""Every format, written and run in its own runtime, by our code and without it."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import spandrel
import torch
from conftest import NETWORKS, build_network, in_onnxruntime
from PIL import Image
from safetensors import safe_open

import srkd
from srkd import SrkdError, load_generator
from srkd.exports.checks import BOUNDS
from srkd.exports.formats import FORMATS
from srkd.exports.onnx import to_onnx
from srkd.exports.request import Request
from srkd.exports.writing import write_onnx
from srkd.images.reading import read_image
from srkd.models import GENERATORS
from srkd.models.fusing import fuse


def expected(path, batch):
    with torch.no_grad():
        return load_generator(path)(torch.from_numpy(batch)).numpy()


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
CASES = [(name, format) for format in ("onnx", "ncnn") for name in NETWORKS]

CASES += [(name, format) for format in ("pt2", "openvino", "safetensors") for name in ("paper", "span")]


@pytest.mark.parametrize(("name", "format"), CASES)
def test_the_formats_own_runtime_computes_the_same(tmp_path, networks, name, format):
    """Sizes and batches that were not seen at conversion, and everything that is known about the network."""
    kind, batches = FORMATS[format], 1 if format == "ncnn" else 3
    path = srkd.export(str(networks[name]), format=format, out=str(tmp_path / f"out{kind.suffix}"))
    for size in ((19, 46), (5, 1)):
        batch = np.random.default_rng(1).random((batches, 3, *size), np.float32)
        found, header = RUNTIMES[format](path, batch)
        assert np.abs(found - expected(networks[name], batch)).max() <= BOUNDS["fp32"]
    facts = json.loads(header)
    assert facts["config"] == load_generator(networks[name]).config and facts["stage"] == "test"
    if format != "safetensors":
        assert (facts["scale"], facts["radius"]) == (4, load_generator(networks[name]).radius)
        assert (facts["license"], facts["precision"]) == ("unknown", "fp32") and facts["memory"] > 100
    named = {path.name} | {path.with_suffix(suffix).name for suffix in kind.beside}
    assert {p.name for p in tmp_path.iterdir()} == named
    if format == "onnx":
        proto = onnx.load(path)
        assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [18]
        assert facts["opset"] == 18
        assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
        for place in (b"site-packages", b"forward", str(Path(srkd.__file__).parents[1]).encode()):
            assert place not in path.read_bytes()


def test_every_architecture_is_exported():
    assert {name for name, (_, options) in GENERATORS.items() if not options} == {
        n for n, _ in NETWORKS.values()
    }


@pytest.mark.parametrize("name", ["compact", "span"])
def test_spandrel_runs_what_is_exported(tmp_path, networks, name):
    path = srkd.export(str(networks[name]), format="safetensors", out=str(tmp_path / "x.safetensors"))
    batch = np.random.default_rng(1).random((1, 3, 20, 14), np.float32)
    descriptor = spandrel.ModelLoader().load_from_file(path)
    with torch.no_grad():
        found = descriptor.model.eval()(torch.from_numpy(batch)).numpy()
    assert np.abs(found - expected(networks[name], batch)).max() <= 1e-6


@pytest.mark.parametrize("format", ["onnx", "openvino", "ncnn"])
def test_half_precision(tmp_path, networks, capsys, format):
    source = shutil.copy(networks["lr"], tmp_path / "w.safetensors")
    path = srkd.export(str(source), format=format, precision="fp16")
    assert path.name == f"w.fp16{FORMATS[format].suffix}"
    out = capsys.readouterr().out
    assert "(fp32: " in out and "dB between the two" in out and "times the fp32 run time" in out
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


def test_write_onnx_takes_facts_and_precision(tmp_path, networks, capsys):
    model = load_generator(networks["compact"])
    write_onnx(model, tmp_path / "x.onnx", "fp16", note="cached")
    assert capsys.readouterr().out == ""
    batch = np.random.default_rng(1).random((2, 3, 11, 8), np.float32)
    found, header = in_onnxruntime(tmp_path / "x.onnx", batch)
    assert np.abs(found - expected(networks["compact"], batch)).max() <= BOUNDS["fp16"]
    facts = json.loads(header)
    assert (facts["note"], facts["precision"], facts["stage"]) == ("cached", "fp16", "test")


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.*")
def test_layers_that_ncnn_lacks_are_named(tmp_path):
    class Spectrum(torch.nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real

    request = Request(None, Spectrum(), lambda: None, {}, "fp32", [])
    with pytest.raises(SrkdError, match=r"ncnn has no layer for .*fft"):
        FORMATS["ncnn"].write(request, tmp_path / "x.param")
    assert not list(tmp_path.iterdir())


def test_half_precision_leaves_the_graph_as_it_is_for_others(tmp_path):
    """What fp16 is measured against must be fp32."""
    model = build_network("srgan", {"channels": 4, "blocks": 1, "tail": "lr"})
    proto = to_onnx(fuse(model))
    request = Request(model, model, lambda: proto, {}, "fp16", ())
    kinds = []
    for precision in ("fp16", "fp32"):
        FORMATS["onnx"].write(request._replace(precision=precision), tmp_path / "a.onnx")
        graph = onnx.load(tmp_path / "a.onnx").graph
        kinds.append({tensor.data_type for tensor in graph.initializer})
    assert onnx.TensorProto.FLOAT16 in kinds[0] and onnx.TensorProto.FLOAT16 not in kinds[1]
