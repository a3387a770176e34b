"""LPIPS: shift-tolerant on the trunks of srkd.metrics.trunks, or by the lpips package."""

import warnings
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.errors import choose
from srkd.metrics.scores import LPIPS_VARIANTS, check_same_shape
from srkd.metrics.trunks import check_size, explain_download, load_st_tensors, load_trunk


def lpips(sr: np.ndarray, hr: np.ndarray, variant: str = "st-lpips-alex", device: str = "cpu") -> float:
    """Learned perceptual distance of two RGB images; 0 for equal ones (LPIPS, Zhang et al. 2018, arXiv
    1801.03924; the `st-` variants ST-LPIPS, Ghildyal & Liu 2022, arXiv 2207.13686).

    Args:
        sr, hr: images `(H, W, 3)` uint8 of one size, at least 32x32.
        variant: which trunk and heads, one of LPIPS_VARIANTS. Scores of different variants do not compare.
        device: where to run the trunk: `cpu`, `cuda`, `mps`.

    Raises:
        UsageError: an unknown variant, images of different sizes, or smaller than 32x32.
        SrkdError: the variant's weights are not installed and cannot be downloaded.
    """
    check_same_shape(sr, hr)
    check_size(*hr.shape[:2])
    pair = [
        torch.from_numpy(np.ascontiguousarray(x)).to(device).permute(2, 0, 1)[None] / 255 for x in (sr, hr)
    ]
    with torch.no_grad():
        return float(load_lpips(variant).to(device)(*pair))


class STLPIPS(nn.Module):
    """Shift-tolerant LPIPS (Ghildyal & Liu 2022, arXiv 2207.13686): squared differences of unit-normalised
    features, weighted by learned heads, averaged over positions and summed over layers.

    Shape:
        Two batches `(N, 3, H, W)` in [0, 1] to distances `(N,)`; 0 for equal images.
    """

    def __init__(self, trunk: str):
        super().__init__()
        self.trunk = load_trunk(trunk)
        tensors = load_st_tensors(trunk)
        for index, name in enumerate(self.trunk.slices):
            self.register_buffer(f"head_{name}", tensors[f"lin{index}.model.1.weight"])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        total = torch.zeros(len(a), device=a.device)
        for (name, fa), fb in zip(self.trunk(a).items(), self.trunk(b).values(), strict=True):
            difference = (_unit(fa) - _unit(fb)) ** 2
            total = total + F.conv2d(difference, self.get_buffer(f"head_{name}")).mean(dim=(1, 2, 3))
        return total


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


@lru_cache(maxsize=4)
def load_lpips(variant: str) -> nn.Module:
    """Loads a module that maps two batches `(N, 3, H, W)` in [0, 1] to distances `(N,)`.

    Args:
        variant: one of `srkd.metrics.LPIPS_VARIANTS`. The `st-` ones work offline; the others need
            torchvision's ImageNet weights, downloaded at first use.

    Raises:
        UsageError: an unknown variant.
        SrkdError: its weights are not installed and cannot be downloaded; the message says what to do.
    """
    choose("LPIPS variant", variant, LPIPS_VARIANTS)
    if variant.startswith("st-"):
        return STLPIPS("st-" + variant.rsplit("-", 1)[1]).eval()
    import lpips

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package uses a deprecated torchvision interface
            reference = lpips.LPIPS(net=variant.removeprefix("lpips-"), verbose=False)
    except (OSError, RuntimeError) as error:
        from torchvision.models import AlexNet_Weights, VGG16_Weights

        weights = AlexNet_Weights if variant == "lpips-alex" else VGG16_Weights
        raise explain_download(variant, weights.IMAGENET1K_V1.url, f"st-{variant}") from error
    return _Reference(reference).eval().requires_grad_(False)


class _Reference(nn.Module):
    def __init__(self, reference: nn.Module):
        super().__init__()
        self.reference = reference

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.reference(a, b, normalize=True).flatten()
