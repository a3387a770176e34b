"""ONNX files that take images in other forms than float RGB of any size."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import srkd
from srkd import SrkdError, UsageError
from srkd.images import resample
from srkd.images.reading import read_image
from srkd.runtimes.onnxruntime import open_onnx

KINDS = {"float": TensorProto.FLOAT, "half": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


def write(
    path: Path,
    *,
    shape=("n", 3, "h", "w"),
    channels: int = 3,
    last: bool = False,
    last_out: bool | None = None,
    taken: str = "float",
    given: str = "float",
    white: float = 1.0,
    rank: int = 4,
) -> Path:
    """A network that blurs each channel a little, 3x3, and enlarges it twice by nearest neighbours.

    `white` is the value of white inside, which shows in what is added.
    """
    kernel = np.full((channels, 1, 3, 3), 0.025, np.float32)
    kernel[:, :, 1, 1] = 0.8
    weights = [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(np.float32([1, 1, 2, 2]), "s")]
    weights.append(numpy_helper.from_array(np.float32(0.02 * white), "o"))
    nodes, x = [], "x"

    def add(kind: str, inputs: list[str], **attributes) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return f"t{len(nodes) - 1}"

    last_out = last if last_out is None else last_out
    if taken != "float":
        x = add("Cast", [x], to=TensorProto.FLOAT)
    if last:
        x = add("Transpose", [x], perm=[0, 3, 1, 2])
    # Constant borders would hide what tiles do at theirs.
    x = add("Pad", [x, "p"], mode="edge")
    weights.append(numpy_helper.from_array(np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "p"))
    x = add("Conv", [x, "k"], group=channels)
    x = add("Add", [x, "o"])
    x = add("Resize", [x, "", "s"], mode="nearest")
    if last_out:
        x = add("Transpose", [x], perm=[0, 2, 3, 1])
    if given == "uint8":
        x = add("Clip", [add("Round", [x]), "lo", "hi"])
        weights += [numpy_helper.from_array(np.float32(v), n) for v, n in ((0, "lo"), (255, "hi"))]
    if given != "float":
        x = add("Cast", [x], to=KINDS[given])
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", KINDS[taken], list(shape)[:rank])],
        [helper.make_tensor_value_info("y", KINDS[given], None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def expected(batch: np.ndarray) -> np.ndarray:
    """What `write`'s network computes, white being 1."""
    padded = np.pad(batch, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    height, width = batch.shape[2:]
    blurred = 0.775 * batch + 0.02
    for y in range(3):
        for x in range(3):
            blurred = blurred + 0.025 * padded[:, :, y : y + height, x : x + width]
    return blurred.repeat(2, axis=2).repeat(2, axis=3)


@pytest.fixture
def batch(photo) -> np.ndarray:
    return np.ascontiguousarray(photo.transpose(2, 0, 1)[None], dtype=np.float32) / 255


FORMS = {
    "channels last": {"shape": ("n", "h", "w", 3), "last": True},
    "channels last at the end alone": {"last_out": True},
    "nothing said of channels": {"shape": ("a", "b", "c", "d"), "last": True},
    "uint8 in and out": {"taken": "uint8", "given": "uint8", "white": 255.0},
    "uint8 in": {"taken": "uint8", "white": 255.0},
    "uint8 out": {"given": "uint8", "white": 255.0},
    "fp16": {"taken": "half", "given": "half"},
    "fp16 of 0..255": {"taken": "half", "given": "half", "white": 255.0},
    "one size": {"shape": (1, 3, 24, 20)},
    "one size, larger than the image": {"shape": (1, 3, 200, 300)},
    "one width": {"shape": ("n", 3, "h", 36)},
    "one size, channels last, uint8": {
        "shape": (1, 32, 32, 3),
        "last": True,
        "taken": "uint8",
        "given": "uint8",
        "white": 255.0,
    },
    "a batch of two": {"shape": (2, 3, "h", "w")},
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(tmp_path, batch, name):
    model = open_onnx(write(tmp_path / "x.onnx", **FORMS[name]))
    two = np.concatenate([batch, batch[:, :, ::-1]])
    # fp16 and uint8 round; elsewhere tiles are as good as the whole.
    bound = 1.01 / 255 if "uint8" in name or "fp16" in name else 1e-5
    assert model.scale == 2 and np.abs(model.run(two) - expected(two)).max() < bound


def test_luma_alone_is_enlarged(tmp_path, batch, capsys):
    """Luma is the network's, chroma bicubic; this is said."""
    path = write(tmp_path / "x.onnx", shape=(1, 1, 24, 24), channels=1)
    found = open_onnx(path).run(batch)
    assert "x.onnx enlarges luma; chroma is enlarged bicubically" in capsys.readouterr().out
    weights = np.float32([0.299, 0.587, 0.114])[None, :, None, None]
    luma = (found * weights).sum(1, keepdims=True)
    wanted = expected((batch * weights).sum(1, keepdims=True))
    bicubic = resample.upscale_bicubic(batch[0].transpose(1, 2, 0), 2).transpose(2, 0, 1)[None]
    assert np.abs(luma - wanted).max() < 1e-4
    # The differences of channels to luma are the bicubic image's, but at the seams of chroma's tiles.
    chroma = (found - luma) - (bicubic - (bicubic * weights).sum(1, keepdims=True))
    assert np.abs(chroma).max() < 0.02 and np.abs(chroma).mean() < 1e-4


def test_they_upscale_and_are_scored(tmp_path, photos):
    path = write(
        tmp_path / "x.onnx", shape=(1, 40, 40, 3), last=True, taken="uint8", given="uint8", white=255.0
    )
    image = sorted(photos.glob("*.png"))[0]
    (made,) = srkd.upscale(image, tmp_path / "out.png", weights=path)
    given = read_image(image)
    wanted = expected(given.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0].transpose(1, 2, 0)
    assert np.abs(read_image(made) / 255 - wanted.clip(0, 1)).max() < 2.01 / 255
    assert srkd.evaluate(path, photos, lpips="none")["scale"] == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shape": ("n", 4, "h", "w"), "channels": 4}, "shape nx4xhxw, neither RGB images nor luma"),
        ({"shape": ("n", 3), "rank": 2}, "shape nx3, not batches of images|can open"),
    ],
)
def test_others_are_described(tmp_path, options, text):
    with pytest.raises((UsageError, SrkdError), match=text):
        open_onnx(write(tmp_path / "x.onnx", **options))
