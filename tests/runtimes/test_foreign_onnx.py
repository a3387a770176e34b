"""ONNX files of other programs."""

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, in_onnxruntime, run_python
from torch import nn

import srkd
from srkd import SrkdError, UsageError, load_generator
from srkd.runtimes.onnxruntime import open_onnx


class Net(nn.Module):
    """A network of some other program: x2, its own range, only sizes that a multiple divides."""

    def __init__(self, white=1.0, multiple=1):
        super().__init__()
        torch.manual_seed(0)
        self.white, self.multiple = white, multiple
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        with torch.no_grad():
            # Nearest-neighbour enlargement and a little more; the bias shows which range it is for.
            self.conv.weight.mul_(0.01)
            for c in range(3):
                self.conv.weight[4 * c : 4 * c + 4, c, 1, 1] += 1
            self.conv.bias.fill_(0.02 * white)

    def forward(self, x):
        n, c, h, w = x.shape
        m = self.multiple
        # A view that only such sizes have.
        x = x.reshape(n, c, h // m, m, w // m, m).reshape(n, c, h, w)
        return nn.functional.pixel_shuffle(self.conv(x), 2)


def write_onnx(module, path, dynamic=True):
    axes = {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        module.eval(),
        (torch.rand(1, 3, 64, 64),),
        str(path),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": axes, "y": axes} if dynamic else None,
    )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("white", [1.0, 255.0])
@pytest.mark.parametrize("multiple", [1, 4])
def test_onnx_files_of_other_origin(tmp_path, photos, white, multiple):
    """Range and multiple are found out; what comes back is what the network gives in its own terms."""
    net = Net(white, multiple)
    path = write_onnx(net, tmp_path / "net.onnx")
    model = open_onnx(path)
    assert model.scale == 2
    image = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        expected = net(image * white) / white
    np.testing.assert_allclose(model.run(image.numpy()), expected.numpy(), atol=1e-5)
    odd = np.random.default_rng(0).random((1, 3, 9, 13), dtype=np.float32)
    assert model.run(odd).shape == (1, 3, 18, 26)
    assert srkd.evaluate(str(path), str(photos), lpips="none")["scale"] == 2
    teacher = load_generator(path)
    assert teacher.scale == 2 and teacher(image).shape == (1, 3, 16, 24)


@pytest.mark.filterwarnings("ignore")
def test_onnx_files_that_are_no_upscalers(tmp_path):
    noise = Net()
    nn.init.normal_(noise.conv.weight)
    with pytest.raises(UsageError, match="something else than an enlarged image"):
        open_onnx(write_onnx(noise, tmp_path / "noise.onnx"))
    tiny = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.save(tiny, tmp_path / "empty.onnx")
    with pytest.raises((SrkdError, UsageError), match="empty"):
        open_onnx(tmp_path / "empty.onnx")


def strip(source, target):
    """A shipped file as if another program had written it."""
    model = onnx.load(source)
    del model.metadata_props[:]
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("name", ["span_s_gan", "srgan_teacher_gan", "compact_48x8_psnr"])
def test_sharp_and_smooth_networks_of_unknown_origin(tmp_path, photo, name):
    source = ROOT / "weights" / f"{name}.onnx"
    model = open_onnx(strip(source, tmp_path / "x.onnx"))
    batch = np.ascontiguousarray(photo.transpose(2, 0, 1)[None], dtype=np.float32) / 255
    assert model.scale == 4 and np.allclose(model.run(batch), in_onnxruntime(source, batch)[0], atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("order", [[2, 1, 0], [0, 2, 1], [1, 0, 2], [0, 0, 0]])
def test_networks_of_other_colours_are_refused(tmp_path, order):
    class Swapped(Net):
        def forward(self, x):
            return super().forward(x)[:, order]

    with pytest.raises(UsageError, match="something else than an enlarged image"):
        open_onnx(write_onnx(Swapped(), tmp_path / "net.onnx"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("multiple", [2, 16, 64])
def test_multiples_are_the_smallest(tmp_path, multiple):
    model = open_onnx(write_onnx(Net(multiple=multiple), tmp_path / "net.onnx"))
    padded = np.random.default_rng(0).random((1, 3, 2 * multiple + 1, multiple), dtype=np.float32)
    assert model.run(padded).shape == (1, 3, 4 * multiple + 2, 2 * multiple)


def test_foreign_files_are_tried_out_without_photographs(tmp_path, photo):
    strip(ROOT / "weights" / "span_s_psnr.onnx", tmp_path / "x.onnx")
    program = "import sys; from srkd.runtimes.onnxruntime import open_onnx; from pathlib import Path\n"
    program += "print(open_onnx(Path(sys.argv[1])).scale)\n"
    program += "print({'skimage', 'scipy', 'torch', 'srkd.data'} & set(sys.modules))"
    assert run_python(program, str(tmp_path / "x.onnx")) == "4\nset()\n"


def test_errors_are_not_logged_beside(tmp_path, capfd):
    """And no other session of the process is made silent."""
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(SrkdError, match="can open"):
        open_onnx(tmp_path / "x.onnx")
    session = open_onnx(ROOT / "weights" / "span_s_psnr.onnx")
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        session.run(np.zeros((1, 4, 8, 8), np.float32))
    assert capfd.readouterr() == ("", "")
