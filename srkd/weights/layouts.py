"""Networks that spandrel does not know: SRGAN's generator as several repositories write it, and MSRResNet."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import UsageError
from srkd.images import resample
from srkd.images.tensors import to_planes
from srkd.models import create_generator
from srkd.models.base import Generator
from srkd.runtimes.foreign import draw
from srkd.terminal import note
from srkd.weights.tensors import State


class MSRResNet(Generator):
    """SRResNet as BasicSR, mmagic and mmSR have it: 3x3 convolutions without batch norm, LeakyReLU, no long
    skip, and the input enlarged bilinearly added to the output.

    Args:
        channels: width.
        blocks: number of residual blocks.
        scale: 2, 3 or 4.

    Shape:
        LR `(N, 3, H, W)` in [0, 1] to SR `(N, 3, scale*H, scale*W)`, not clamped.
    """

    def __init__(self, channels: int, blocks: int, scale: int):
        super().__init__(scale, radius=2 * blocks + 4, taps=[f"body.{k}" for k in range(blocks)])
        stages = [2, 2] if scale == 4 else [scale]
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(_PlainBlock(channels) for _ in range(blocks)))
        self.ups = nn.ModuleList(nn.Conv2d(channels, channels * s**2, 3, padding=1) for s in stages)
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        self.factor = stages[0]

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(F.leaky_relu(self.conv_first(x), 0.1))
        for up in self.ups:
            h = F.leaky_relu(F.pixel_shuffle(up(h), self.factor), 0.1)
        h = self.conv_last(F.leaky_relu(self.conv_hr(h), 0.1))
        return h + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)


class _PlainBlock(nn.Module):
    """conv3-ReLU-conv3 added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


# mmagic's and mmSR's names, and ours, after BasicSR's.
_MSRRESNET_NAMES = (
    (r"(trunk_net|recon_trunk)\.", "body."),
    (r"upsample(\d)\.upsample_conv\.", r"upconv\1."),
    (r"HRconv\.", "conv_hr."),
    (r"upconv1\.", "ups.0."),
    (r"upconv2\.", "ups.1."),
)


def load_msrresnet(state: State) -> Generator | None:
    """An MSRResNet with these weights, or None where the names are not its names.

    Raises:
        RuntimeError: the names are, and some keys or shapes differ.
    """
    renamed = {_rename(key): value for key, value in state.items()}
    if not {"conv_first.weight", "body.0.conv1.weight", "ups.0.weight", "conv_last.weight"} <= renamed.keys():
        return None
    channels, blocks = len(renamed["conv_first.weight"]), _count(renamed, r"body\.(\d+)\.conv1\.weight")
    factor = round((len(renamed["ups.0.weight"]) / channels) ** 0.5)
    network = MSRResNet(channels, blocks, 4 if "ups.1.weight" in renamed else factor)
    network.load_state_dict(renamed)
    network.info = {"kind": "generator", "architecture": "MSRResNet"}
    return network


def _rename(key: str) -> str:
    for pattern, name in _MSRRESNET_NAMES:
        key = re.sub(f"^{pattern}", name, key)
    return key


def _count(state: State, pattern: str) -> int:
    return 1 + max((int(m[1]) for m in (re.fullmatch(pattern, key) for key in state) if m), default=-1)


class Normalization(NamedTuple):
    """What a repository does to images before its network and to its output after.

    Args:
        name: for messages.
        mean, deviation: subtracted from the input in [0, 1], and what it is divided by.
        tanh: whether the output goes through tanh, from [-1, 1].
    """

    name: str
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tanh: bool = False


_PLAIN = Normalization("images in [0, 1]")
_TANH = Normalization("input in [0, 1], tanh at the end", tanh=True)
_SIGNED = Normalization("input in [-1, 1], tanh at the end", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), True)
_IMAGENET = Normalization(
    "input normalised as for ImageNet, tanh at the end", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), True
)
# By a name that only one repository has: Lornatang/SRGAN-PyTorch,
# sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution, leftthomas/SRGAN.
_KNOWN = (
    (r"trunk\.0\.rcb\.0\.weight", _PLAIN),
    (r"subpixel_convolutional_blocks\.0\.conv\.weight", _IMAGENET),
    (r"block8\.0\.conv\.weight", _TANH),
)


class NormalizedGenerator(Generator):
    """A generator between a normalization of its input and of its output."""

    def __init__(self, network: Generator, normalization: Normalization):
        super().__init__(network.scale, network.radius, [f"network.{tap}" for tap in network.taps])
        self.network, self.tanh = network, normalization.tanh
        for name, values in (("mean", normalization.mean), ("deviation", normalization.deviation)):
            self.register_buffer(name, torch.tensor(values)[None, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        out = self.network((x - self.get_buffer("mean")) / self.get_buffer("deviation"))
        return (torch.tanh(out) + 1) / 2 if self.tanh else out


def load_srgan(state: State) -> Generator | None:
    """SRGAN's generator with these weights, whatever its layers are called: their kinds and order are those
    of Ledig et al. 2017 (arXiv 1609.04802). None where they are not.

    What is done to the images is known of some repositories; of others it is found by what gives an enlarged
    image, and said.

    Raises:
        UsageError: nothing gives an enlarged image.
    """
    layers = _list_layers(state)
    found = _match(layers)
    if found is None:
        return None
    options, names = found
    network = create_generator("srgan", **options)
    own = {key: torch.zeros_like(value) for key, value in network.state_dict().items()}
    for name, layer in zip(names, layers, strict=True):
        for part, value in layer.parts.items():
            key = f"{name}.{part}"
            own[key] = value.expand_as(own[key]) if layer.kind == "act" else value
    network.load_state_dict(own)
    network.info = {"kind": "generator", "architecture": "srgan"}
    known = next((form for pattern, form in _KNOWN if any(re.search(pattern, key) for key in state)), None)
    form = known or _try_out(network.eval())
    if form is _PLAIN:
        return network
    wrapped = NormalizedGenerator(network, form)
    wrapped.info = network.info
    return wrapped


class _Layer(NamedTuple):
    kind: str
    parts: State


def _list_layers(state: State) -> list[_Layer]:
    """The layers in order, each a convolution, a batch norm, a PReLU (`act`) or something else."""
    groups: dict[str, State] = {}
    for key, value in state.items():
        prefix, _, part = key.rpartition(".")
        groups.setdefault(prefix, {})[part] = value
    layers = []
    for parts in groups.values():
        weight = parts.get("weight")
        axes = -1 if weight is None else weight.dim()
        kind = "conv" if axes == 4 else "norm" if "running_mean" in parts else "act" if axes == 1 else "other"
        layers.append(_Layer(kind, parts))
    return layers


def _match(layers: Sequence[_Layer]) -> tuple[dict, list[str]] | None:
    """The options of a generator with such layers, and their names in it."""
    word = "".join({"conv": "c", "norm": "n", "act": "a", "other": "x"}[layer.kind] for layer in layers)
    forms = (r"(ca)((?:cnacn)+)(cn)((?:ca)+)c", r"(ca)((?:cac)+)(c)((?:ca)+)c")
    shape = next(filter(None, (re.fullmatch(form, word) for form in forms)), None)
    if shape is None:
        return None
    norm = "n" in word
    blocks, ups = len(shape[2]) // (5 if norm else 3), len(shape[4]) // 2
    convolutions = [layer.parts["weight"] for layer in layers if layer.kind == "conv"]
    width = len(convolutions[0])
    factors = [(len(weight) / width) ** 0.5 for weight in convolutions[-1 - ups : -1]]
    scale = {(2.0,): 2, (3.0,): 3, (2.0, 2.0): 4}.get(tuple(factors))
    expected = [(width, 3, 9, 9), *[(width, width, 3, 3)] * (2 * blocks + 1)]
    expected += [(round(f * f) * width, width, 3, 3) for f in factors] + [(3, width, 9, 9)]
    if scale is None or [tuple(weight.shape) for weight in convolutions] != expected:
        return None
    inner = (0, 1, 2, 3, 4) if norm else (0, 1, 2)
    names = ["head.0", "head.1", *(f"body.{k}.layers.{j}" for k in range(blocks) for j in inner)]
    names += ["fuse.0", "fuse.1"] if norm else ["fuse.0"]
    names += [name for k in range(ups) for name in (f"tail.{k}.0", f"tail.{k}.2")] + [f"tail.{ups}"]
    options = {"channels": width, "blocks": blocks, "scale": scale, "norm": "bn" if norm else "none"}
    return options, names


def _try_out(network: Generator) -> Normalization:
    image = draw(64, 64)
    enlarged = to_planes(resample.upscale_bicubic(image, network.scale))
    errors = {}
    for form in (_PLAIN, _TANH, _SIGNED, _IMAGENET):
        with torch.inference_mode():
            found = NormalizedGenerator(network, form)(torch.from_numpy(to_planes(image))).numpy()
        errors[form] = float(np.square(found - enlarged).mean())
    best = min(errors, key=lambda form: errors[form])
    # 20 dB, as for networks in other formats.
    if not errors[best] < 0.01:
        raise UsageError("it has the layers of SRGAN's generator, and gives no enlarged image")
    note(f"an SRGAN generator of unknown origin; taken: {best.name}, which enlarges an image best")
    return best
