"""What is exported for a program: the rules of each, as its source has them; OpenCV itself."""

import json

import numpy as np
import onnx
import pytest

import srkd
from srkd import UsageError, create_generator, load_generator, save_generator
from srkd.exports.checks import BOUNDS
from srkd.exports.programs import PROGRAMS, check_name, explain, name_file, read_upscayl_scale
from srkd.exports.request import Shape
from srkd.runtimes.ncnn_files import read_network


@pytest.fixture(scope="module")
def made(tmp_path_factory, networks):
    """A file for each program, by its name, and the weights."""
    folder = tmp_path_factory.mktemp("made")
    source = folder / "student_64x16.safetensors"
    source.write_bytes(networks["compact"].read_bytes())
    return {name: srkd.export(str(source), program=name, verbose=False) for name in PROGRAMS}, source


def expected(source, batch):
    import torch

    with torch.no_grad():
        return load_generator(source)(torch.from_numpy(batch)).numpy()


def inputs_of(path):
    graph = onnx.load(path).graph
    return [(value.name, value.type.tensor_type) for value in (*graph.input, *graph.output)]


@pytest.mark.parametrize("program", ["upscayl", "video2x"])
def test_ncnn_pairs_for_programs(made, program):
    """Text and weights beside one another, and the blobs that both programs ask for in their code."""
    path = made[0][program]
    network = read_network(path)
    assert (network.source, network.result) == ("data", "output")
    assert path.with_suffix(".bin").stat().st_size > 1000


def test_file_names_carry_the_scale(made):
    """video2x appends -x4 to a name; Upscayl searches the name for x4, and for smaller scales before that."""
    assert made[0]["video2x"].name == "student_64x16-x4.param"
    assert made[0]["opencv"].name == "student_64x16-opencv.onnx"
    assert made[0]["upscayl"].name == "student_64-16-x4.param"
    upscayl = PROGRAMS["upscayl"]
    for stem, scale, wanted in (
        ("span_s_psnr", 4, "span_s_psnr-x4"),
        ("realesrgan-x4plus", 4, "realesrgan-x4plus"),
        ("compact_48x8", 2, "compact_48x8-x2"),
        ("2x_to_4x", 4, "2-_to_4--x4"),
        ("net_x2", 3, "net_-2-x3"),
        ("net-x2", 2, "net-x2"),
        ("X2", 4, "-2-x4"),
    ):
        assert name_file(upscayl, stem, "fp32", scale) == wanted
        assert read_upscayl_scale(wanted) == scale
    assert name_file(upscayl, "net", "fp16", 4) == "net-fp16-x4"
    # As the program reads them: x16 is found as x1; its window knows nothing beyond 4.
    assert read_upscayl_scale("net-x16") == 1 and read_upscayl_scale("plain") == 4


def test_names_that_mislead_a_program_are_refused(tmp_path):
    for program, name, scale, better in (
        ("upscayl", "net-x2.param", 4, "net--2-x4.param"),
        ("video2x", "net.param", 4, "net-x4.param"),
        ("video2x", "net-x4.param", 2, "net-x4-x2.param"),
    ):
        with pytest.raises(UsageError, match=f"reads the scale from the name {name}; call it {better}"):
            check_name(PROGRAMS[program], tmp_path / name, scale)
    with pytest.raises(UsageError, match="enlarges 2, 3, 4 times; this network 8 times"):
        check_name(PROGRAMS["video2x"], tmp_path / "net-x8.param", 8)
    check_name(PROGRAMS["opencv"], tmp_path / "anything.onnx", 8)


def test_vs_mlrt_opens_the_graph(made):
    """One image, four axes, three channels, one input named as its Python wrapper expects; and its way to a
    size: sides are set, what is known of inner values is dropped, and shapes are inferred again."""
    path = made[0]["vs-mlrt"]
    (name, entry), (_, result) = inputs_of(path)
    assert name == "input" and entry.elem_type == onnx.TensorProto.FLOAT
    for value in (entry, result):
        sides = value.shape.dim
        assert len(sides) == 4 and sides[0].dim_value == 1 and sides[1].dim_value == 3
    proto = onnx.load(path)
    taken, given = (v[0].type.tensor_type.shape.dim for v in (proto.graph.input, proto.graph.output))
    taken[2].dim_value, taken[3].dim_value = 40, 56
    given[2].Clear()
    given[3].Clear()
    del proto.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(proto)
    assert [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim] == [1, 3, 160, 224]


def test_chainner_finds_the_scale(made):
    """By strict shape inference, with its own rule for which axis is the channels."""
    path = made[0]["chainner"]
    proto = onnx.load(path)
    taken = proto.graph.input[0].type.tensor_type.shape.dim
    assert taken[1].dim_value == 3 and not taken[2].HasField("dim_value")
    for axis, side in ((0, 1), (2, 16), (3, 16)):
        taken[axis].dim_value = side
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    sides = inferred.graph.output[0].type.tensor_type.shape.dim
    assert [sides[axis].dim_value for axis in (1, 2, 3)] == [3, 64, 64]


def test_tensorrt_is_told_the_sizes(made, tmp_path, networks, capsys):
    (name, entry), _ = inputs_of(made[0]["tensorrt"])
    assert name == "input" and not any(entry.shape.dim[axis].HasField("dim_value") for axis in (0, 2, 3))
    said = explain(PROGRAMS["tensorrt"], made[0]["tensorrt"], PROGRAMS["tensorrt"].shape, 4, 6)
    assert "--minShapes=input:1x3x32x32 --optShapes=input:1x3x360x640" in said
    path = tmp_path / "a.onnx"
    static = {"program": "tensorrt", "size": "36x20", "batch": 2, "names": "x,y", "out": str(path)}
    srkd.export(str(networks["compact"]), **static)
    out = capsys.readouterr().out
    assert "trtexec --onnx=a.onnx" in out and "Shapes" not in out and "20 pixels high and 36 wide" in out
    shapes = [(n, [side.dim_value for side in kind.shape.dim]) for n, kind in inputs_of(path)]
    assert shapes == [("x", [2, 3, 20, 36]), ("y", [2, 3, 80, 144])]


@pytest.mark.parametrize("name", ["paper", "lr", "nearest", "compact", "span", "branched"])
def test_opencv_computes_the_same(tmp_path, networks, name):
    cv2 = pytest.importorskip("cv2")
    path = srkd.export(str(networks[name]), program="opencv", size="40x24", out=str(tmp_path / "x.onnx"))
    image = (np.random.default_rng(1).random((24, 40, 3)) * 255).astype(np.uint8)
    net = cv2.dnn.readNetFromONNX(str(path))
    # As the message says, from BGR to BGR.
    net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))
    found = net.forward()[0][::-1].transpose(1, 2, 0)
    batch = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    wanted = expected(networks[name], batch)[0].transpose(1, 2, 0)[..., ::-1]
    assert found.shape == (96, 160, 3) and np.abs(found - wanted).max() <= BOUNDS["fp32"]


def test_seams_are_told_where_tiles_overlap_too_little(tmp_path):
    for radius, told in ((10, False), (21, True)):
        said = explain(PROGRAMS["upscayl"], tmp_path / "a-x4.param", Shape(), 4, radius)
        assert ("this network sees 21" in said) == told and "a-x4.bin" in said and "{" not in said


@pytest.mark.parametrize("program", list(PROGRAMS))
def test_what_is_said_has_no_gaps(tmp_path, program):
    said = explain(PROGRAMS[program], tmp_path / "a-x4.onnx", PROGRAMS[program].shape, 4, 21)
    assert "a-x4" in said and "{" not in said


def test_misuse(fails, networks, tmp_path):
    source = networks["lr"]
    assert "leave out --format" in fails(2, "export", source, "--for", "opencv", "--format", "onnx")
    assert "--names does not go with --for upscayl" in fails(
        2, "export", source, "--for", "upscayl", "--names", "a,b"
    )
    assert "OpenCV is exported as fp32, not fp16" in fails(
        2, "export", source, "--for", "opencv", "--precision", "fp16"
    )
    assert "'paint' is not one of upscayl, video2x" in fails(2, "export", source, "--for", "paint")
    assert "--for does not go with --format web" in fails(
        2, "export", source, "--format", "web", "--for", "opencv", "--out", tmp_path / "s"
    )
    assert "reads the scale from the name w.param" in fails(
        2, "export", source, "--for", "video2x", "--out", tmp_path / "w.param"
    )
    assert not list(tmp_path.iterdir())


def test_a_network_of_another_scale_for_upscayl(tmp_path):
    weights = save_generator(
        create_generator("compact", channels=4, convs=1, scale=2), tmp_path / "w.safetensors"
    )
    assert srkd.export(str(weights), program="upscayl", precision="fp16").name == "w-fp16-x2.param"


def test_the_header_of_a_static_graph(made):
    facts = json.loads(onnx.load(made[0]["opencv"]).metadata_props[0].value)
    assert (facts["size"], facts["batch"], facts["scale"]) == ([256, 256], 1, 4)
