"""LR images as cameras and the web make them, instead of bicubic's."""

import math

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# The published settings of the two rounds: chances of enlarging, shrinking, keeping; the ranges of the
# resize factor, of the blur's sigma, of Gaussian noise in 8-bit levels, of Poisson noise, of JPEG quality.
_ROUNDS = (
    {"resize": (0.2, 0.7, 0.1), "factor": (0.15, 1.5), "sigma": (0.2, 3.0), "noise": (1, 30)},
    {"resize": (0.3, 0.4, 0.3), "factor": (0.3, 1.2), "sigma": (0.2, 1.5), "noise": (1, 25)},
)
_POISSON = ((0.05, 3.0), (0.05, 2.5))
_QUALITY = (30, 95)
_SINC, _BLUR_AGAIN, _FINAL_SINC = 0.1, 0.8, 0.8
_SIZES = tuple(range(7, 22, 2))
_MODES = ("area", "bilinear", "bicubic")


def degrade(hr: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    """Second-order degradation (Real-ESRGAN, Wang et al. 2021, arXiv 2107.10833, section 3): blur, resizing,
    noise and JPEG, twice, and a final sinc filter.

    Kernels and noise are each image's own; resizing is the batch's.

    Args:
        hr: images `(N, 3, H, W)` in [0, 1]; H and W multiples of `scale`, at least 4 `scale`.
        scale: the super-resolution factor.
        rng: decides everything; equal states give equal results.

    Returns:
        LR `(N, 3, H/scale, W/scale)` in [0, 1], in steps of 1/255.
    """
    height, width = hr.shape[-2:]
    image = hr
    for number, (settings, poisson) in enumerate(zip(_ROUNDS, _POISSON, strict=True)):
        if number == 0 or rng.random() < _BLUR_AGAIN:
            image = _filter(image, [_blur_kernel(rng, settings["sigma"]) for _ in image])
        factor = _factor(rng, settings["resize"], settings["factor"]) / (1 if number == 0 else scale)
        image = _resize(image, (max(round(height * factor), 4), max(round(width * factor), 4)), rng)
        image = _noise(image, rng, settings["noise"], poisson)
        if number == 0:
            image = _jpeg(image, rng)
    # The last JPEG before or after the resize to the final size, each half of the time.
    jpeg_first = rng.random() < 0.5
    if jpeg_first:
        image = _jpeg(image, rng)
    image = _resize(image, (height // scale, width // scale), rng)
    if rng.random() < _FINAL_SINC:
        image = _filter(image, [_sinc_kernel(rng) for _ in image])
    if not jpeg_first:
        image = _jpeg(image, rng)
    return (image.clamp(0, 1) * 255).round() / 255


def _factor(rng: np.random.Generator, chances: tuple, bounds: tuple) -> float:
    kind = rng.choice(3, p=chances)
    return float((rng.uniform(1, bounds[1]), rng.uniform(bounds[0], 1), 1.0)[kind])


def _resize(image: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    mode = str(rng.choice(_MODES))
    options = {} if mode == "area" else {"align_corners": False}
    return F.interpolate(image, size, mode=mode, **options).clamp(0, 1)


def _filter(image: Tensor, kernels: list[np.ndarray]) -> Tensor:
    """Filters each image with its own kernel; kernels are padded to one size."""
    size = max(kernel.shape[0] for kernel in kernels)
    padded = [np.pad(kernel, (size - kernel.shape[0]) // 2) for kernel in kernels]
    stack = torch.from_numpy(np.stack(padded)).to(image)
    # Reflection needs more pixels than a small crop has left after a strong shrink.
    return kornia.filters.filter2d(image, stack, border_type="replicate")


def _blur_kernel(rng: np.random.Generator, sigmas: tuple[float, float]) -> np.ndarray:
    """A sinc, or a Gaussian, generalised Gaussian or plateau kernel, isotropic or not (eq. 2 and 3)."""
    if rng.random() < _SINC:
        return _sinc_kernel(rng)
    size = int(rng.choice(_SIZES))
    kind = rng.choice(["gaussian", "generalized", "plateau"], p=[0.7, 0.15, 0.15])
    first, second = rng.uniform(*sigmas, size=2)
    angle = rng.uniform(-math.pi, math.pi)
    if rng.random() < 0.55:
        second, angle = first, 0.0
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(rotation @ np.diag([first**2, second**2]) @ rotation.T)
    axis = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    distance = np.einsum("hwi,ij,hwj->hw", grid, inverse, grid)
    if kind == "gaussian":
        kernel = np.exp(-distance / 2)
    elif kind == "generalized":
        kernel = np.exp(-(distance ** rng.uniform(0.5, 4.0)) / 2)
    else:
        kernel = 1 / (distance ** rng.uniform(1.0, 2.0) + 1)
    return kernel / kernel.sum()


def _sinc_kernel(rng: np.random.Generator) -> np.ndarray:
    """A circular low-pass filter, which rings as sharpened and recompressed images do (eq. 5)."""
    size = int(rng.choice(_SIZES))
    cutoff = rng.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi)
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    radius = torch.hypot(axis[:, None], axis[None, :])
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return (kernel / kernel.sum()).numpy()


def _noise(image: Tensor, rng: np.random.Generator, levels: tuple, poisson: tuple) -> Tensor:
    """Gaussian noise, or Poisson noise of the image, coloured or gray."""
    shape = list(image.shape)
    if rng.random() < 0.4:
        shape[1] = 1
    strength = rng.uniform(size=(shape[0], 1, 1, 1))
    if rng.random() < 0.5:
        sigma = (levels[0] + strength * (levels[1] - levels[0])) / 255
        noise = rng.standard_normal(shape) * sigma
    else:
        scale = poisson[0] + strength * (poisson[1] - poisson[0])
        signal = image.mean(1, keepdim=True) if shape[1] == 1 else image
        values = signal.detach().cpu().double().numpy()
        noise = (rng.poisson(values * 255) / 255 - values) * scale
    return (image + torch.from_numpy(noise).to(image)).clamp(0, 1)


def _jpeg(image: Tensor, rng: np.random.Generator) -> Tensor:
    quality = torch.from_numpy(rng.uniform(*_QUALITY, size=image.shape[0])).to(image)
    return kornia.enhance.jpeg_codec_differentiable(image, quality).clamp(0, 1)
