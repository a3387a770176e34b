"""Files of torch as other programs write them: other layouts, wrappings, suffixes; and what fits nothing."""

import argparse
import pickle
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from conftest import write_compact
from safetensors.torch import save_file
from torch import nn

import srkd
from srkd import SrkdError, UsageError, create_generator, load_generator

WIDTH, BLOCKS = 8, 2


def conv(inputs: int, outputs: int, size: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(WIDTH, WIDTH), conv(WIDTH, WIDTH)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.conv1(x)))


class MSRResNet(nn.Module):
    """BasicSR's."""

    def __init__(self, scale: int = 4):
        super().__init__()
        self.scale, up = scale, 2 if scale == 4 else scale
        self.conv_first, self.conv_hr, self.conv_last = conv(3, WIDTH), conv(WIDTH, WIDTH), conv(WIDTH, 3)
        self.body = nn.Sequential(*(Residual() for _ in range(BLOCKS)))
        self.upconv1 = conv(WIDTH, WIDTH * up * up)
        if scale == 4:
            self.upconv2 = conv(WIDTH, WIDTH * 4)

    def forward(self, x):
        out = self.body(F.leaky_relu(self.conv_first(x), 0.1))
        for name in ("upconv1", "upconv2"):
            if hasattr(self, name):
                factor = 2 if self.scale == 4 else self.scale
                out = F.leaky_relu(F.pixel_shuffle(getattr(self, name)(out), factor), 0.1)
        out = self.conv_last(F.leaky_relu(self.conv_hr(out), 0.1))
        return out + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


class RCB(nn.Module):
    def __init__(self):
        super().__init__()
        a, b = (conv(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.rcb = nn.Sequential(a, nn.BatchNorm2d(WIDTH), nn.PReLU(), b, nn.BatchNorm2d(WIDTH))

    def forward(self, x):
        return x + self.rcb(x)


class Upsample(nn.Module):
    def __init__(self):
        super().__init__()
        self.upsample_block = nn.Sequential(conv(WIDTH, WIDTH * 4), nn.PixelShuffle(2), nn.PReLU())

    def forward(self, x):
        return self.upsample_block(x)


class Lornatang(nn.Module):
    """Lornatang/SRGAN-PyTorch, 2022."""

    def __init__(self):
        super().__init__()
        self.conv_block1 = nn.Sequential(conv(3, WIDTH, 9), nn.PReLU())
        self.trunk = nn.Sequential(*(RCB() for _ in range(BLOCKS)))
        self.conv_block2 = nn.Sequential(conv(WIDTH, WIDTH, bias=False), nn.BatchNorm2d(WIDTH))
        self.upsampling = nn.Sequential(Upsample(), Upsample())
        self.conv_block3 = conv(WIDTH, 3, 9)

    def forward(self, x):
        first = self.conv_block1(x)
        return self.conv_block3(self.upsampling(first + self.conv_block2(self.trunk(first)))).clamp(0, 1)


class ConvolutionalBlock(nn.Module):
    def __init__(self, inputs, outputs, size, norm, *activation):
        super().__init__()
        norms = [nn.BatchNorm2d(outputs)] if norm else []
        self.conv_block = nn.Sequential(conv(inputs, outputs, size), *norms, *activation)

    def forward(self, x):
        return self.conv_block(x)


class TutorialResidual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_block1 = ConvolutionalBlock(WIDTH, WIDTH, 3, True, nn.PReLU())
        self.conv_block2 = ConvolutionalBlock(WIDTH, WIDTH, 3, True)

    def forward(self, x):
        return x + self.conv_block2(self.conv_block1(x))


class SubPixel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.shuffle, self.prelu = conv(WIDTH, WIDTH * 4), nn.PixelShuffle(2), nn.PReLU()

    def forward(self, x):
        return self.prelu(self.shuffle(self.conv(x)))


class TutorialNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_block1 = ConvolutionalBlock(3, WIDTH, 9, False, nn.PReLU())
        self.residual_blocks = nn.Sequential(*(TutorialResidual() for _ in range(BLOCKS)))
        self.conv_block2 = ConvolutionalBlock(WIDTH, WIDTH, 3, True)
        self.subpixel_convolutional_blocks = nn.Sequential(SubPixel(), SubPixel())
        self.conv_block3 = ConvolutionalBlock(WIDTH, 3, 9, False, nn.Tanh())

    def forward(self, x):
        first = self.conv_block1(x)
        h = first + self.conv_block2(self.residual_blocks(first))
        return self.conv_block3(self.subpixel_convolutional_blocks(h))


class Tutorial(nn.Module):
    """sgrvinod's tutorial: images normalised as for ImageNet in, [-1, 1] out."""

    def __init__(self):
        super().__init__()
        self.net = TutorialNet()

    def forward(self, x):
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        return (self.net((x - mean) / std) + 1) / 2


class LeftResidual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.prelu = conv(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH), nn.PReLU()
        self.conv2, self.bn2 = conv(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH)

    def forward(self, x):
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class LeftThomas(nn.Module):
    """leftthomas/SRGAN: (tanh + 1) / 2 at the end."""

    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(conv(3, WIDTH, 9), nn.PReLU())
        self.block2, self.block3 = LeftResidual(), LeftResidual()
        self.block7 = nn.Sequential(conv(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH))
        self.block8 = nn.Sequential(SubPixel(), conv(WIDTH, 3, 9))

    def forward(self, x):
        first = self.block1(x)
        return (torch.tanh(self.block8(first + self.block7(self.block3(self.block2(first))))) + 1) / 2


def build(make) -> nn.Module:
    """Random weights, batch norms that have seen something."""
    torch.manual_seed(0)
    net = make()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    return net.eval()


def assert_same(path, net: nn.Module) -> None:
    image = torch.rand(2, 3, 9, 7)
    model = load_generator(path)
    with torch.no_grad():
        wanted, found = net(image), model(image)
    assert found.shape == wanted.shape and (found.clamp(0, 1) - wanted.clamp(0, 1)).abs().max() < 1e-5
    assert len(model.taps) >= BLOCKS and not model.training


LAYOUTS = {
    "msrresnet": MSRResNet,
    "msrresnet_x3": lambda: MSRResNet(3),
    "lornatang": Lornatang,
    "tutorial": Tutorial,
    "leftthomas": LeftThomas,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    net = build(LAYOUTS[name])
    torch.save(net.state_dict(), tmp_path / "x.pth.tar")
    assert_same(tmp_path / "x.pth.tar", net)


def test_mmagics_names(tmp_path):
    """`generator_ema.` is taken before `generator.`, and other names for the same layers."""
    net, other = build(MSRResNet), build(MSRResNet)
    nn.init.normal_(other.conv_last.weight)

    def rename(key: str) -> str:
        key = key.replace("body.", "trunk_net.")
        return key.replace("upconv1.", "upsample1.upsample_conv.").replace(
            "upconv2.", "upsample2.upsample_conv."
        )

    state = {f"generator.{rename(key)}": value for key, value in other.state_dict().items()}
    state |= {f"generator_ema.{rename(key)}": value for key, value in net.state_dict().items()}
    state |= {"discriminator.features.0.weight": torch.rand(8, 3, 3, 3), "step_counter": torch.zeros(1)}
    meta = {
        "meta": {"cfg": argparse.Namespace(work_dir="x"), "iter": 5},
        "state_dict": state,
        "optimizer": {},
    }
    torch.save(meta, tmp_path / "x.ckpt")
    assert_same(tmp_path / "x.ckpt", net)


@pytest.mark.parametrize(
    ("wrap", "file"),
    [
        (lambda s: {"params": {}, "params_ema": s}, "x.bin"),
        (lambda s: {"epoch": 3, "model": {f"module.{k}": v for k, v in s.items()}}, "x.pth.tar"),
        (lambda s: {"generator": s, "discriminator": {"conv.weight": torch.rand(4, 3, 3, 3)}}, "x"),
        (lambda s: {"state_dict": {f"netG.{k}": v for k, v in s.items()}, "loss": 0.1}, "x.ckpt"),
        (lambda s: {"netG": {f"_orig_mod.{k}": v for k, v in s.items()}}, "x.pt"),
        (lambda s: {f"module.generator.{k}": v for k, v in s.items()}, "x.model"),
    ],
)
def test_wrappings_and_suffixes(tmp_path, wrap, file):
    net = create_generator("compact_s", 2).eval()
    torch.save(wrap(net.state_dict()), tmp_path / file)
    assert_same(tmp_path / file, net)


def test_averaged_weights_are_taken_first_and_this_is_said(tmp_path, capsys):
    net, other = (create_generator("compact_s", 2).eval() for _ in range(2))
    torch.save({"params": other.state_dict(), "params_ema": net.state_dict()}, tmp_path / "x.pth")
    assert_same(tmp_path / "x.pth", net)
    assert "of 2 parts with weights 'params_ema' is taken" in capsys.readouterr().out


def test_safetensors_under_another_name(tmp_path):
    net = create_generator("compact_s", 2).eval()
    save_file(net.state_dict(), tmp_path / "x.bin")
    assert_same(tmp_path / "x.bin", net)


def test_whole_modules_without_their_code(tmp_path, monkeypatch):
    """The tutorial's checkpoints hold pickled modules, of classes that are not there when they are read."""
    net = build(Tutorial)
    home = types.ModuleType("models_of_others")
    for kind in (Tutorial, TutorialNet, TutorialResidual, ConvolutionalBlock, SubPixel):
        monkeypatch.setattr(kind, "__module__", "models_of_others")
        setattr(home, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "models_of_others", home)
    optimizer = torch.optim.Adam(net.parameters())
    torch.save({"epoch": 1, "generator": net, "optimizer_g": optimizer}, tmp_path / "x.pth.tar")
    monkeypatch.delitem(sys.modules, "models_of_others")
    assert_same(tmp_path / "x.pth.tar", net)


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def test_what_reading_a_module_needs_is_not_left_allowed(tmp_path):
    torch.save(
        {"params": create_generator("compact_s", 2).state_dict(), "x": Hostile("x")}, tmp_path / "x.pth"
    )
    load_generator(tmp_path / "x.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.pth", weights_only=True)


def test_torchscript_is_refused(tmp_path):
    """It is a program, which runs as it is loaded."""
    network = create_generator("compact_s", 2).eval()
    torch.jit.trace(network, torch.zeros(1, 3, 16, 16)).save(tmp_path / "x.pt")
    with pytest.raises(SrkdError, match=r"no weights that can be loaded safely.*TorchScript"):
        load_generator(tmp_path / "x.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_run_no_code(tmp_path, legacy):
    state = create_generator("compact_s", 2).state_dict()
    torch.save(
        {"params": state, "x": Hostile(tmp_path / "ran")},
        tmp_path / "x.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    if legacy:
        with pytest.raises(SrkdError, match="more than tensors in torch's old format"):
            load_generator(tmp_path / "x.pth")
    else:
        assert load_generator(tmp_path / "x.pth").scale == 2
    assert not (tmp_path / "ran").exists()
    (tmp_path / "y.pth").write_bytes(pickle.dumps(Hostile(tmp_path / "ran")))
    with pytest.raises(SrkdError, match="no weights"):
        load_generator(tmp_path / "y.pth")
    assert not (tmp_path / "ran").exists()


def test_srgan_under_unknown_names(tmp_path, capsys):
    """Known by the kinds and the order of its layers; what is done to images is tried out, and said."""
    net = create_generator("srgan", 4, channels=4, blocks=2, norm="bn").eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_(), module.bias.zero_()
            if isinstance(module, nn.PReLU):
                module.weight.fill_(1)
        # Nearest-neighbour enlargement; tanh follows, so that it is steeper and centred.
        for c in range(3):
            net.head[0].weight[c, c, 4, 4] = 1
            for up in net.tail[:2]:
                up[0].weight[4 * c : 4 * c + 4, c, 1, 1] = 1
            net.tail[2].weight[c, c, 4, 4], net.tail[2].bias[c] = 2.4, -1.2
    state = {f"layer_{number}.{key.split('.')[-1]}": value for number, key, value in number_layers(net)}
    torch.save(state, tmp_path / "x.pth")

    class Wrapped(nn.Module):
        def forward(self, x):
            return (torch.tanh(net(x)) + 1) / 2

    assert_same(tmp_path / "x.pth", Wrapped())
    assert "input in [0, 1], tanh at the end, which enlarges an image best" in capsys.readouterr().out
    torch.save({key: torch.randn_like(value.float()) for key, value in state.items()}, tmp_path / "y.pth")
    with pytest.raises(UsageError, match="gives no enlarged image"):
        load_generator(tmp_path / "y.pth")


def number_layers(net: nn.Module):
    layers = dict.fromkeys(key.rpartition(".")[0] for key in net.state_dict())
    for key, value in net.state_dict().items():
        yield list(layers).index(key.rpartition(".")[0]), key, value


def test_lornatangs_is_srkds_own(tmp_path, photos):
    """It can be trained on, exported and interpolated."""
    torch.save({"state_dict": build(Lornatang).state_dict()}, tmp_path / "x.pth.tar")
    model = load_generator(tmp_path / "x.pth.tar")
    assert model.config == {"name": "srgan", "scale": 4, "channels": 8, "blocks": 2, "norm": "bn"}
    made = srkd.export(tmp_path / "x.pth.tar", format="safetensors", out=tmp_path / "x.safetensors")
    assert load_generator(made).config == model.config


def change(state, kind):
    if kind == "shape":
        return {**state, "body.1.conv1.weight": torch.zeros(8, 8, 1, 1)}
    if kind == "absent":
        return {k: v for k, v in state.items() if not k.startswith("conv_hr")}
    return {**state, "extra.weight": torch.zeros(1), "extra.bias": torch.zeros(1)}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("shape", r"body\.1\.conv1\.weight.*\[8, 8, 1, 1\].*\[8, 8, 3, 3\]"),
        ("absent", "absent: 'conv_hr.weight', 'conv_hr.bias'"),
        ("unknown", "unknown: 'extra.weight', 'extra.bias'"),
    ],
)
def test_a_mismatch_says_what_differs(tmp_path, kind, text):
    torch.save(change(build(MSRResNet).state_dict(), kind), tmp_path / "x.pth")
    with pytest.raises(SrkdError, match=text) as caught:
        load_generator(tmp_path / "x.pth")
    assert "\n" not in str(caught.value) and not str(caught.value).endswith(":")


def test_a_mismatch_of_spandrels(tmp_path):
    state = torch.load(write_compact(tmp_path), weights_only=True)["params"]
    state["body.2.weight"] = torch.zeros(8, 9, 3, 3)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(SrkdError, match=r"body\.2\.weight.*\[8, 9, 3, 3\].*\[8, 8, 3, 3\]"):
        load_generator(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"fc.weight": torch.zeros(3, 4)}, "no convolutional network: 1 tensors, 'fc.weight' 3x4"),
        ({"layer.weight": torch.zeros(3, 4, 5, 5)}, "knows: 1 tensors, 'layer.weight' 3x4x5x5"),
        ({"epoch": 3}, "holds no weights of a generator"),
        ({"discriminator": {"a.weight": torch.zeros(3, 4, 5, 5)}}, "holds no weights of a generator"),
    ],
)
def test_what_is_no_generator_is_described(tmp_path, content, text):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises((UsageError, SrkdError), match=text):
        load_generator(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"PK\x03\x04" + bytes(40),
    ],
)
def test_what_holds_no_weights(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(SrkdError, match="no weights that can be loaded safely") as caught:
        load_generator(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)
    assert content[:2] == b"PK" or str(caught.value).endswith("it is no file of torch.save or safetensors")


def test_loading_and_exporting_leave_the_process_as_it_was(tmp_path):
    import logging
    import warnings

    before = (
        list(warnings.filters),
        logging.getLogger("torch.onnx").level,
        logging.getLogger("onnxscript").level,
    )
    srkd.export(write_compact(tmp_path), out=tmp_path / "x.onnx")
    after = (
        list(warnings.filters),
        logging.getLogger("torch.onnx").level,
        logging.getLogger("onnxscript").level,
    )
    assert after == before
