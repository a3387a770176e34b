"""PSNR and SSIM under named protocols.

Only scores of the same protocol compare; RGB and luma PSNR differ by about 1.9 dB.
Images are `(H, W, 3)` uint8 RGB arrays.
"""

import math
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity

from srkd.errors import UsageError, choose

PROTOCOLS = ("y-crop", "rgb-crop")
# dB that equal images count as where scores are averaged or compared: one image would make a mean infinite.
LARGEST_PSNR = 100.0


LPIPS_VARIANTS = ("st-lpips-alex", "st-lpips-vgg", "lpips-alex", "lpips-vgg")


def protocol_name(protocol: str, scale: int) -> str:
    """The full name of a protocol at a scale: `y-crop` at x4 is `y-crop4`.

    Raises:
        UsageError: an unknown protocol, or one named for another scale.
    """
    base = protocol.rstrip("0123456789")
    choose("protocol", base, PROTOCOLS)
    if protocol not in (base, f"{base}{scale}"):
        raise UsageError(f"protocol {protocol} is for x{protocol[len(base) :]}, but the images are x{scale}")
    return f"{base}{scale}"


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Cuts the bottom and right so that both sides are multiples of `scale`."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def psnr(sr: np.ndarray, hr: np.ndarray, protocol: str) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE); infinite for equal images.

    Args:
        sr, hr: images of one size.
        protocol: a full name such as `y-crop4`: BT.601 studio-range luma (`rgb-crop4`: RGB), without a border
            of `scale` pixels.

    Raises:
        UsageError: a protocol without its scale, sizes that differ, or nothing left inside the border.
    """
    sr, hr = _prepare(sr, protocol), _prepare(hr, protocol)
    check_same_shape(sr, hr)
    error = np.mean((sr - hr) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(sr: np.ndarray, hr: np.ndarray, protocol: str) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian 11x11 window, sigma 1.5, population covariance.

    Arguments and errors as for `psnr`; at least 11x11 pixels must be left inside the border.
    """
    sr, hr = _prepare(sr, protocol), _prepare(hr, protocol)
    check_same_shape(sr, hr)
    if min(sr.shape[:2]) < 11:
        raise UsageError(f"SSIM needs 11x11 pixels inside the border, not {sr.shape[1]}x{sr.shape[0]}")
    value: Any = structural_similarity(
        sr,
        hr,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2 if sr.ndim == 3 else None,
    )
    return float(value)


def luma(image: np.ndarray) -> np.ndarray:
    """BT.601 studio-range luma, 16..235, of a uint8 RGB image, as floats and not rounded."""
    return image.astype(np.float64) @ (np.array([65.481, 128.553, 24.966]) / 255) + 16


def _prepare(image: np.ndarray, protocol: str) -> np.ndarray:
    base = protocol.rstrip("0123456789")
    choose("protocol", base, PROTOCOLS)
    if base == protocol:
        raise UsageError(f"the protocol {base} needs its scale, whose border it cuts: at x4 {base}4")
    border = int(protocol[len(base) :])
    check_8_bit(image)
    values = luma(image) if base == "y-crop" else image.astype(np.float64)
    inside = values[border : values.shape[0] - border, border : values.shape[1] - border]
    if inside.size == 0:
        raise UsageError(
            f"an image of {image.shape[1]}x{image.shape[0]} has nothing inside a border of {border}"
        )
    return inside


def check_8_bit(image: np.ndarray) -> None:
    if image.dtype != np.uint8:
        raise UsageError(f"scores need 8-bit images, not {image.dtype}")


def check_rgb(*images: np.ndarray) -> None:
    """Raises UsageError unless all are `(H, W, 3)` uint8 of one size."""
    for image in images:
        check_8_bit(image)
        if image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"this score needs RGB images, (H, W, 3), not {image.shape}")
        check_same_shape(images[0], image)


def check_same_shape(sr: np.ndarray, hr: np.ndarray) -> None:
    if sr.shape != hr.shape:
        raise UsageError(
            f"the images differ in size: {sr.shape[1]}x{sr.shape[0]} and {hr.shape[1]}x{hr.shape[0]}"
        )
