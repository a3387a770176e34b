"""Pretrained classifiers whose features perceptual losses and LPIPS compare.

Offline: the AlexNet and VGG16 of ST-LPIPS (Ghildyal & Liu 2022, ECCV, arXiv 2207.13686), trained on ImageNet,
with a blur before every subsampling. The package `stlpips-pytorch` contains their weights, which are read
here without running its code. Downloaded at first use: torchvision's VGG19.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import SrkdError, UsageError, choose

# Slices of the ST-LPIPS trunks, each ending at a tap. `c` convolution (out, kernel, padding), `r` ReLU,
# `m` max-pool with stride 1 (kernel), `b` blur with stride 2.
_C3 = ("c", 3, 1)


_ST_LAYERS = {
    "st-alex": {
        "relu1": [(64, "c", 11, 2), "b", "r"],
        "relu2": [("m", 3), "b", (192, "c", 5, 2), "r"],
        "relu3": [("m", 3), "b", (384, *_C3), "r"],
        "relu4": [(256, *_C3), "r"],
        "relu5": [(256, *_C3), "r"],
    },
    "st-vgg": {
        "relu1_2": [(64, *_C3), "r", (64, *_C3), "r"],
        "relu2_2": [("m", 2), "b", *[(128, *_C3), "r"] * 2],
        "relu3_3": [("m", 2), "b", *[(256, *_C3), "r"] * 3],
        "relu4_3": [("m", 2), "b", *[(512, *_C3), "r"] * 3],
        "relu5_3": [("m", 2), "b", *[(512, *_C3), "r"] * 3],
    },
}


TRUNKS = (*_ST_LAYERS, "vgg19")


class Trunk(nn.Module):
    """A frozen classifier's convolutional part, cut into named slices.

    Its weights take no gradient, and it stays in eval mode.

    Shape:
        Images `(N, 3, H, W)` in [0, 1], H, W >= 32, to a dict of features by layer name.
    """

    shift: Tensor
    spread: Tensor

    def __init__(self, slices: dict[str, nn.Sequential], shift: Sequence[float], spread: Sequence[float]):
        super().__init__()
        self.slices = nn.ModuleDict(slices)
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(spread).view(1, 3, 1, 1))
        # A quarter faster on a CPU than channels first.
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> "Trunk":
        return super().train(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = (x - self.shift) / self.spread
        features = {}
        for name, layers in self.slices.items():
            x = layers(x)
            features[name] = x
        return features


class Blur(nn.Module):
    """Blur-pool (Zhang 2019, arXiv 1904.11486): reflected border of 2, a [1 2 1] binomial filter, stride 2.

    Shape:
        `(N, C, H, W)` to `(N, C, (H + 3) // 2, (W + 3) // 2)`.
    """

    filter: Tensor

    def __init__(self):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filter", (torch.outer(row, row) / 16)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.filter.expand(x.shape[1], 1, 3, 3)
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), weight, stride=2, groups=x.shape[1])


def load_trunk(name: str, layers: Sequence[str] | None = None) -> Trunk:
    """Loads a trunk, up to the deepest of the wanted layers.

    Args:
        name: `st-vgg`, `st-alex` (offline) or `vgg19` (torchvision, downloaded once).
        layers: names such as `relu3_3` (after activation) or, in `vgg19`, `conv5_4` (before it). Without it,
            the trunk's five taps, or `conv5_4` for `vgg19`.

    Raises:
        UsageError: an unknown trunk or layer.
        SrkdError: the weights are not installed, or cannot be downloaded.
    """
    check_layers(name, layers or ())
    return _load_vgg19(tuple(layers or ("conv5_4",))) if name == "vgg19" else _load_st(name, layers)


def check_layers(name: str, layers: Sequence[str]) -> None:
    """Raises UsageError for an unknown trunk or layer."""
    choose("perceptual trunk", name, TRUNKS)
    known = [layer for layer in _name_vgg19() if not layer.startswith("pool")]
    for layer in layers:
        choose(f"layer of {name}", layer, known if name == "vgg19" else _ST_LAYERS[name])


def explain_download(what: str, url: str, instead: str) -> SrkdError:
    """The error that says where ImageNet weights that cannot be downloaded come from, and belong."""
    place = Path(torch.hub.get_dir()) / "checkpoints"
    return SrkdError(
        f"the weights of {what} are not on this machine and cannot be downloaded; fetch {url} and put it "
        f"into {place}, or use {instead}"
    )


def _load_st(name: str, layers: Sequence[str] | None) -> Trunk:
    spec = _ST_LAYERS[name]
    last = max(list(spec).index(layer) for layer in layers) if layers else len(spec) - 1
    tensors = load_st_tensors(name)
    slices, width, index = {}, 3, 0
    for number, (tap, tokens) in enumerate(list(spec.items())[: last + 1], start=1):
        modules: list[nn.Module] = []
        for token in tokens:
            if token == "r":
                modules.append(nn.ReLU())
            elif token == "b":
                modules.append(Blur())
            elif token[0] == "m":
                modules.append(nn.MaxPool2d(token[1], stride=1))
            else:
                conv = nn.Conv2d(width, token[0], token[2], padding=token[3])
                prefix = f"net.slice{number}.{index}."
                conv.load_state_dict({"weight": tensors[prefix + "weight"], "bias": tensors[prefix + "bias"]})
                width = token[0]
                modules.append(conv)
            index += 1
        slices[tap] = nn.Sequential(*modules)
    # LPIPS normalises [-1, 1] images; on [0, 1] that is half its shift plus a half, and half its spread.
    shift, spread = tensors["scaling_layer.shift"].flatten(), tensors["scaling_layer.scale"].flatten()
    return Trunk(slices, ((shift + 1) / 2).tolist(), (spread / 2).tolist())


@lru_cache(maxsize=2)
def load_st_tensors(name: str) -> dict[str, Tensor]:
    """The tensors of an ST-LPIPS network, by its trunk's name.

    Raises:
        SrkdError: the package `stlpips-pytorch` is not installed, or damaged.
    """
    spec = find_spec("stlpips_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise SrkdError(
            f"the weights of {name} are not installed; fix: python -m pip install stlpips-pytorch==0.0.2"
        )
    file = Path(next(iter(spec.submodule_search_locations))) / "weights" / "vST0.0"
    file /= f"{name.removeprefix('st-')}_shift_tolerant.pth"
    try:
        return torch.load(file, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError) as error:
        raise SrkdError(
            f"cannot read {file.name}; fix: python -m pip install --force-reinstall stlpips-pytorch==0.0.2"
        ) from error


def _load_vgg19(layers: tuple[str, ...]) -> Trunk:
    from torchvision.models import VGG19_Weights, vgg19

    names = _name_vgg19()
    ends = sorted({names.index(layer) + 1 for layer in layers})
    try:
        features = vgg19(weights=VGG19_Weights.IMAGENET1K_V1).features
    except (OSError, RuntimeError) as error:
        raise explain_download(
            "torchvision's VGG19", VGG19_Weights.IMAGENET1K_V1.url, "the trunk st-vgg"
        ) from error
    # In-place activations would overwrite the features before them.
    modules = [nn.ReLU() if isinstance(module, nn.ReLU) else module for module in features.children()]
    slices = {names[end - 1]: nn.Sequential(*modules[start:end]) for start, end in pairwise([0, *ends])}
    return Trunk(slices, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _name_vgg19() -> list[str]:
    """The names of its layers in order, as papers have them: `conv1_1`, `relu1_1`, ..., `pool1`, ..."""
    names = []
    for block, count in enumerate((2, 2, 4, 4, 4), 1):
        names += [f"{kind}{block}_{k}" for k in range(1, count + 1) for kind in ("conv", "relu")]
        names.append(f"pool{block}")
    return names


def check_size(height: int, width: int) -> None:
    """Raises UsageError where a side is under 32 pixels, too small for the trunks."""
    if min(height, width) < 32:
        raise UsageError(f"LPIPS and perceptual losses need images of at least 32x32, not {width}x{height}")
