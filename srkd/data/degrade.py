"""LR images as cameras and the web make them, instead of bicubic's."""

import io
import math
from collections.abc import Callable

import kornia
import numpy as np
import scipy.special
import torch
import torch.nn.functional as F
from PIL import Image

from srkd.degradation import Degradation

# The chances of `kernel_prob` in their order.
_KERNELS = [(shape, even) for shape in ("gaussian", "generalized", "plateau") for even in (True, False)]
_LUMA = np.array([0.2989, 0.587, 0.114], np.float32)
_SMALLEST = 4  # pixels; what is resized to less holds nothing

Tell = Callable[[str], object]


def _silent(_step: str) -> None: ...


def draw_rng(seed: int, sha256: str, draw: int) -> np.random.Generator:
    """What decides one degradation of a whole image.

    Args:
        seed: any integer from 0.
        sha256: of the HR file, in hex digits.
        draw: its number.
    """
    return np.random.default_rng([seed, int(sha256, 16), draw])


def draw_lr(
    lr: np.ndarray, hr: np.ndarray, rng: np.random.Generator, mix: Degradation, tell: Tell = _silent
) -> np.ndarray:
    """An LR image for a pair: for the share `mix.clean` its own, else one made of HR by `degrade`.

    Args:
        lr: `(H, W, 3)` uint8.
        hr: `(scale*H, scale*W, 3)` uint8.
        rng, mix, tell: as in `degrade`.

    Returns:
        `(H, W, 3)` uint8.
    """
    if rng.random() < mix.clean:
        tell("clean")
        return lr
    return degrade(hr, hr.shape[0] // lr.shape[0], rng, mix, tell)


def degrade(
    hr: np.ndarray, scale: int, rng: np.random.Generator, mix: Degradation, tell: Tell = _silent
) -> np.ndarray:
    """Second-order degradation (Real-ESRGAN, Wang et al. 2021, arXiv 2107.10833, section 3): blur, resizing,
    noise and JPEG, twice, and a last sinc filter, in the published order.

    What differs from the published code: JPEG is libjpeg's own, of whole quality, and what goes into it is
    rounded to 8 bit; images are degraded one by one, so that resizing, too, is each image's own (there it is
    a batch's, and a pool of 180 pairs mixes batches); the crop itself is degraded, not a larger one around
    it; HR is not sharpened.

    Args:
        hr: `(H, W, 3)` uint8; H and W multiples of `scale`.
        scale: the super-resolution factor.
        rng: decides everything; equal states give equal results.
        mix: the ranges to draw from. Its `clean` plays no part here.
        tell: called with each step in words.

    Returns:
        LR `(H/scale, W/scale, 3)` uint8.
    """
    height, width = hr.shape[:2]
    image = hr.astype(np.float32) / 255
    for second in (False, True):
        draw = _Round(mix, "2" if second else "", rng, tell)
        image = draw.blur(image)
        factor = draw.factor()
        sides = [int(side / scale * factor) if second else int(side * factor) for side in (height, width)]
        image = draw.resize(image, max(sides[0], _SMALLEST), max(sides[1], _SMALLEST))
        image = draw.noise(image)
        if not second:
            image = draw.jpeg(image)
    # The last JPEG before or after the resize to the final size, each half of the time.
    jpeg_first = rng.random() < 0.5
    if jpeg_first:
        image = draw.jpeg(image)
    image = draw.resize(image, height // scale, width // scale)
    if rng.random() < mix.final_sinc_prob:
        kernel, cutoff = draw.sinc(0)
        tell(f"sinc {len(kernel)} px, cutoff {cutoff:.2f}")
        image = _filter(image, kernel)
    if not jpeg_first:
        image = draw.jpeg(image)
    return _to_levels(image)


class _Round:
    """The steps of one round, each drawn as it is applied; images `(H, W, 3)` float32 about [0, 1]."""

    def __init__(self, mix: Degradation, suffix: str, rng: np.random.Generator, tell: Tell):
        self.mix, self.suffix, self.rng, self.tell = mix, suffix, rng, tell

    def option(self, name: str):
        """An option of this round."""
        return getattr(self.mix, name + self.suffix)

    def blur(self, image: np.ndarray) -> np.ndarray:
        if self.rng.random() >= self.option("blur_prob"):
            return image
        size = self.size()
        if self.rng.random() < self.mix.sinc_prob:
            # Small kernels cannot hold a low cutoff.
            kernel, cutoff = self.sinc(size)
            self.tell(f"sinc {len(kernel)} px, cutoff {cutoff:.2f}")
        else:
            kernel = self.kernel(size)
        return _filter(image, kernel)

    def size(self) -> int:
        least, greatest = self.mix.kernel_size
        return int(self.rng.choice(np.arange(least, greatest + 1, 2)))

    def kernel(self, size: int) -> np.ndarray:
        """A Gaussian, generalised Gaussian or plateau kernel, isotropic or not (eq. 2 and 3)."""
        rng = self.rng
        shape, isotropic = _KERNELS[rng.choice(len(_KERNELS), p=self.mix.kernel_prob)]
        sigmas = self.option("blur_sigma")
        first = second = rng.uniform(*sigmas)
        angle = 0.0
        if not isotropic:
            second, angle = rng.uniform(*sigmas), rng.uniform(-math.pi, math.pi)
        beta = 1.0
        if shape != "gaussian":
            low, high = self.mix.betag_range if shape == "generalized" else self.mix.betap_range
            # Half of the draws below 1, where the range has that; of the plateau's published one, at 1.
            middle = min(max(1.0, low), high)
            beta = rng.uniform(low, middle) if rng.random() < 0.5 else rng.uniform(middle, high)
        self.tell(f"{shape} blur {first:.2f} x {second:.2f}, {size} px" + f", beta {beta:.2f}" * (beta != 1))
        return make_kernel(shape, size, first, second, angle, beta)

    def sinc(self, size: int) -> tuple[np.ndarray, float]:
        """A sinc kernel and its cutoff; of the last filter (size 0) the size is drawn, too."""
        low = math.pi / 5 if size >= 13 else math.pi / 3
        size = size or self.size()
        cutoff = float(self.rng.uniform(low, math.pi))
        return make_sinc(size, cutoff), cutoff

    def factor(self) -> float:
        """How much larger the image becomes."""
        least, greatest = self.option("resize_range")
        kind = self.rng.choice(3, p=self.option("resize_prob"))
        return float((self.rng.uniform(1, greatest), self.rng.uniform(least, 1), 1.0)[kind])

    def resize(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        modes = self.mix.resize_modes
        mode = modes[self.rng.integers(len(modes))]
        self.tell(f"{mode} to {width}x{height}")
        return _resize(image, (height, width), mode)

    def noise(self, image: np.ndarray) -> np.ndarray:
        """Gaussian noise, or Poisson noise of the image, coloured or gray."""
        rng, mix = self.rng, self.mix
        if rng.random() >= self.option("noise_prob"):
            return image
        gray = rng.random() < mix.gray_noise_prob
        colour = "gray" if gray else "colour"
        if rng.random() < mix.gaussian_noise_prob:
            sigma = rng.uniform(*self.option("noise_range"))
            self.tell(f"{colour} Gaussian noise {sigma:.1f}")
            noise = rng.standard_normal((*image.shape[:2], 1 if gray else 3), np.float32) * (sigma / 255)
        else:
            factor = rng.uniform(*self.option("poisson_scale_range"))
            self.tell(f"{colour} Poisson noise {factor:.2f}")
            signal = (image @ _LUMA)[..., None] if gray else image
            noise = poisson_noise(signal, rng) * factor
        return (image + noise).clip(0, 1).astype(np.float32)

    def jpeg(self, image: np.ndarray) -> np.ndarray:
        if self.rng.random() >= self.option("jpeg_prob"):
            return image
        quality = round(self.rng.uniform(*self.option("jpeg_range")))
        self.tell(f"JPEG {quality}")
        buffer = io.BytesIO()
        Image.fromarray(_to_levels(image)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer), np.float32) / 255


def make_kernel(
    shape: str, size: int, first: float, second: float, angle: float = 0.0, beta: float = 1.0
) -> np.ndarray:
    """A blur kernel that sums to 1: with d the squared distance from its centre in standard deviations,
    exp(-d/2) (`gaussian`), exp(-d^beta / 2) (`generalized`) or 1 / (1 + d^beta) (`plateau`).

    Args:
        shape: one of the three.
        size: its side, odd.
        first, second: standard deviations along its axes, in pixels.
        angle: of the first axis, in radians.
        beta: the exponent.

    Returns:
        `(size, size)` float64.
    """
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(rotation @ np.diag([first**2, second**2]) @ rotation.T)
    axis = np.arange(size) - size // 2
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    distance = np.einsum("hwi,ij,hwj->hw", grid, inverse, grid)
    if shape == "plateau":
        kernel = 1 / (distance**beta + 1)
    else:
        kernel = np.exp(-(distance ** (beta if shape == "generalized" else 1)) / 2)
    return kernel / kernel.sum()


def make_sinc(size: int, cutoff: float) -> np.ndarray:
    """A circular low-pass filter, which rings as sharpened and recompressed images do (eq. 5): `(size, size)`
    float64 that sums to 1; cutoff in radians, at most pi."""
    axis = np.arange(size) - size // 2
    radius = np.hypot(axis[:, None], axis[None, :])
    radius[size // 2, size // 2] = 1.0
    kernel = cutoff * scipy.special.j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return kernel / kernel.sum()


def poisson_noise(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The noise of photons where white is as many as the image has levels, rounded up to a power of 2: of
    `(H, W, C)` in [0, 1], rounded to 8 bit first."""
    levels = _to_levels(signal)
    white = 2 ** math.ceil(math.log2(len(np.unique(levels))))
    clean = levels / 255
    return (rng.poisson(clean * white) / white - clean).astype(np.float32)


def _resize(image: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    if mode == "antialiased":
        batch = F.interpolate(batch, size, mode="bicubic", antialias=True)
    else:
        batch = F.interpolate(batch, size, mode=mode)
    return np.ascontiguousarray(batch[0].permute(1, 2, 0).numpy())


def _filter(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlates an image with a kernel, its borders mirrored."""
    border = len(kernel) // 2
    # NumPy mirrors again where the image is smaller than the border, which torch refuses.
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    batch = torch.from_numpy(padded).permute(2, 0, 1)[None]
    found = kornia.filters.filter2d(batch, torch.from_numpy(kernel).float()[None], padding="valid")
    return np.ascontiguousarray(found[0].permute(1, 2, 0).numpy())


def _to_levels(image: np.ndarray) -> np.ndarray:
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)
