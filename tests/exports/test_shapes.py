"""Static and named graphs, in each format that has them."""

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import srkd
from srkd import SrkdError, UsageError, load_generator
from srkd.exports import formats
from srkd.exports.checks import BOUNDS
from srkd.exports.formats import FORMATS
from srkd.exports.int8 import fit
from srkd.exports.request import Shape, read_shape


def expected(path, batch):
    with torch.no_grad():
        return load_generator(path)(torch.from_numpy(batch)).numpy()


def in_openvino(path, batch):
    import openvino

    model = openvino.Core().read_model(path)
    assert model.input("input").partial_shape.is_static and model.output("output").partial_shape.is_static
    return np.array(openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)[0])


def in_onnx(path, batch):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == list(batch.shape)
    return session.run(["output"], {"input": batch})[0]


def in_pt2(path, batch):
    return torch.export.load(path).module()(torch.from_numpy(batch)).detach().numpy()


@pytest.mark.parametrize(
    ("format", "name", "run"),
    [("onnx", "lr", in_onnx), ("openvino", "span", in_openvino), ("pt2", "compact", in_pt2)],
)
def test_a_graph_of_one_size_and_batch(tmp_path, networks, capsys, format, name, run):
    named = {} if format == "pt2" else {"names": "input,output"}
    target = str(tmp_path / f"x{FORMATS[format].suffix}")
    path = srkd.export(str(networks[name]), format=format, size="33x19", batch=3, out=target, **named)
    assert "19 pixels high and 33 wide, 3 images at once" in capsys.readouterr().out
    batch = np.random.default_rng(1).random((3, 3, 19, 33), np.float32)
    assert np.abs(run(path, batch) - expected(networks[name], batch)).max() <= BOUNDS["fp32"]


def test_a_batch_alone_and_names_alone(tmp_path, networks):
    path = srkd.export(str(networks["compact"]), batch=1, names="a,b", out=str(tmp_path / "x.onnx"))
    entry, result = (v[0] for v in (onnx.load(path).graph.input, onnx.load(path).graph.output))
    sides = [d.dim_value or d.dim_param for d in entry.type.tensor_type.shape.dim]
    assert (entry.name, result.name, sides) == ("a", "b", [1, 3, "height", "width"])
    path = srkd.export(
        str(networks["compact"]), format="ncnn", names="in,result", out=str(tmp_path / "x.param")
    )
    text = path.read_text(encoding="ascii")
    assert "0 1 in\n" in text and " result" in text and "data" not in text


@pytest.mark.parametrize("opset", [15, 21])
def test_opsets(tmp_path, networks, capsys, opset):
    path = srkd.export(str(networks["lr"]), opset=opset, out=str(tmp_path / "x.onnx"))
    proto = onnx.load(path)
    assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [opset]
    assert f"opset {opset}" in capsys.readouterr().out
    onnx.checker.check_model(proto, full_check=True)


def test_an_opset_that_is_not_reached_is_told(tmp_path, networks, monkeypatch):
    """torch keeps 18 where it cannot convert, and says so in its log alone."""
    monkeypatch.setattr("srkd.exports.request.OPSETS", range(9, 26))
    with pytest.raises(UsageError, match="cannot be written in opset 9; 18 works"):
        srkd.export(str(networks["lr"]), opset=9, out=str(tmp_path / "x.onnx"))
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_inside(tmp_path, networks):
    path = srkd.export(str(networks["compact"]), out=str(tmp_path / "x.onnx"))
    inner = next(name for node in onnx.load(path).graph.node for name in node.output if name.isidentifier())
    try:
        again = srkd.export(str(networks["compact"]), names=f"lr,{inner}", out=str(tmp_path / "y.onnx"))
    except UsageError as error:
        assert "choose another" in str(error)
    else:
        # torch has renamed the other.
        onnx.checker.check_model(onnx.load(again), full_check=True)
        assert onnx.load(again).graph.output[0].name == inner


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_static_graph_in_other_precisions(tmp_path, networks, photos, capsys, precision):
    """Photographs of other sizes go through it on tiles, and ranges are set with images of its size."""
    more = {"calibrate": str(photos)} if precision == "int8" else {}
    out = str(tmp_path / "x.onnx")
    source = str(networks["compact"])
    path = srkd.export(source, precision=precision, size="32x20", batch=2, out=out, **more)
    assert "dB on 3 photographs" in capsys.readouterr().out
    assert [d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim] == [2, 3, 20, 32]


def test_srkd_runs_a_static_graph_on_any_image(tmp_path, networks, photo):
    plain = srkd.export(str(networks["compact"]), out=str(tmp_path / "a.onnx"))
    static = srkd.export(str(networks["compact"]), size="40x24", batch=2, out=str(tmp_path / "b.onnx"))
    Image.fromarray(photo).save(tmp_path / "in.png")
    found = []
    for weights in (plain, static):
        (made,) = srkd.upscale(
            str(tmp_path / "in.png"), str(tmp_path / f"{weights.stem}.png"), weights=str(weights)
        )
        found.append(np.asarray(Image.open(made)).astype(int))
    assert found[0].shape == (240, 320, 3)
    # Tiles that reach the border are padded by their edge, not by zeros.
    assert np.abs(found[0] - found[1])[32:-64, 32:-64].max() <= 1


def test_static_graphs_are_not_for_openvinos_backend(tmp_path, networks, photo, fails):
    static = srkd.export(str(networks["compact"]), size="40x24", out=str(tmp_path / "b.onnx"))
    Image.fromarray(photo).save(tmp_path / "in.png")
    words = ("upscale", tmp_path / "in.png", "-o", tmp_path / "o.png", "-w", static, "--backend", "openvino")
    assert "use --backend onnxruntime" in fails(2, *words)


def test_a_wrong_static_graph_is_not_written(tmp_path, networks, monkeypatch):
    kind = FORMATS["onnx"]

    def corrupted(request, path):
        with torch.no_grad():
            next(p for p in request.fused.parameters() if p.dim() == 4).add_(0.01)
        kind.write(request, path)

    monkeypatch.setitem(formats.FORMATS, "onnx", kind._replace(write=corrupted))
    with pytest.raises(SrkdError, match="differs from torch"):
        srkd.export(str(networks["lr"]), size="16x16", out=str(tmp_path / "x.onnx"))
    assert not list(tmp_path.iterdir())


def test_options_are_read():
    shape = read_shape(Shape(), "320X180", 4, " in , out_1 ", 20)
    assert shape == Shape((180, 320), 4, ("in", "out_1"), 20)
    for wrong in ("180", "180x", "0x5", "axb", "9000x9000", "-1x5", "320x180x3"):
        with pytest.raises(UsageError, match="WIDTHxHEIGHT of LR images in pixels, as 320x180"):
            read_shape(Shape(), size=wrong)
    for wrong in ("a", "a,a", "a,b,c", "a b,c", ",b", "1a,b", "a.b,c"):
        with pytest.raises(UsageError, match="as input,output"):
            read_shape(Shape(), names=wrong)
    for key, wrong in (("batch", 0), ("batch", 1000), ("opset", 14), ("opset", 26)):
        with pytest.raises(UsageError, match=f"--{key} takes"):
            read_shape(Shape(), **{key: wrong})


def test_options_that_a_format_lacks(fails, networks, tmp_path):
    source = networks["lr"]
    for format, option, value in (
        ("safetensors", "--size", "8x8"),
        ("ncnn", "--batch", "2"),
        ("pt2", "--names", "a,b"),
        ("openvino", "--opset", "18"),
        ("web", "--size", "8x8"),
    ):
        said = fails(2, "export", source, "--format", format, option, value, "--out", tmp_path / "x")
        assert f"{option} does not go with --format {format}" in said
    assert not list(tmp_path.iterdir())


def test_images_are_fitted_to_a_graph():
    image = np.arange(3 * 6 * 4, dtype=np.float32).reshape(1, 3, 6, 4)
    found = fit(image, Shape((4, 6), 2))
    assert found.shape == (2, 3, 4, 6)
    assert np.array_equal(found[1, :, :, 1:5], image[0, :, 1:5]) and np.array_equal(
        found[..., 0], found[..., 1]
    )
    assert fit(image, Shape()) is not None and np.array_equal(fit(image, Shape()), image)
