"""Images as arrays `(H, W, 3)` to the batches that networks take, and back. Imports torch only where it is
asked for tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def white_of(dtype: Any) -> np.float32:
    """The value of white: the greatest of an integer type, 1 of a floating type."""
    return np.float32(np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)


def to_planes(image: np.ndarray) -> np.ndarray:
    """An image as a batch of one for runtimes that take arrays.

    Args:
        image: `(H, W, 3)`, uint8, uint16, or floating point with 1 for white.

    Returns:
        `(1, 3, H, W)` float32, white being 1.
    """
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / white_of(image.dtype)


def to_levels(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Values with 1 for white, clipped, as the levels of a type: rounded to integers, or as they are."""
    clipped = values.clip(0, 1)
    if not np.issubdtype(dtype, np.integer):
        return clipped.astype(dtype, copy=False)
    return np.rint(clipped * white_of(dtype)).astype(dtype)


# A picture counts as gray where no pixel's channels are further apart than the first, of 255, no 8x8 block's
# means further than the second, and the whole's no further than the third. Measured on photographs made gray:
# JPEG and AVIF of any quality keep R = G = B, WebP is off by 1 in pixels and blocks; with noise of 3 levels
# in each channel, JPEG (qualities 30 to 95, 4:2:0) has up to 10 in pixels, 3.1 in blocks and 0.1 in the
# whole. A tint of one level in red and blue has 3 in the whole, also after JPEG of quality 75 and more, and
# stays. Of 539 photographs the three that are gray have 1, 1 and 0; the least colourful of the others 11, 8.7
# and 2.2.
_GRAY_SPREADS = (10.0, 4.0, 0.5)


def is_gray(image: np.ndarray) -> bool:
    """Whether an RGB image `(H, W, 3)` of any type is gray but for the noise that lossy formats and cameras
    put into its colours. A tint, however slight, is none: sepia stays."""
    pixel, block, whole = (limit / 255 * white_of(image.dtype) for limit in _GRAY_SPREADS)
    totals, columns = np.zeros(3), np.arange(0, image.shape[1], 8)
    # A strip at a time: most photographs show their colours in the first.
    for top in range(0, image.shape[0], 64):
        strip = image[top : top + 64]
        furthest = _spread(strip).max()
        if furthest > pixel:
            return False
        # No block is further apart than its pixels.
        if furthest > block:
            rows = np.arange(0, len(strip), 8)
            # The last of a row or column may be smaller.
            heights, widths = np.append(rows, len(strip)), np.append(columns, image.shape[1])
            sizes = np.outer(np.diff(heights), np.diff(widths))
            sums = np.add.reduceat(np.add.reduceat(strip, rows, axis=0, dtype=np.float64), columns, axis=1)
            if _spread(sums / sizes[..., None]).max() > block:
                return False
        totals += [strip[..., channel].sum(dtype=np.float64) for channel in range(3)]
    return bool(np.ptp(totals / (image.shape[0] * image.shape[1])) <= whole)


def _spread(values: np.ndarray) -> np.ndarray:
    first, second, third = (values[..., channel] for channel in range(3))
    most = np.maximum(np.maximum(first, second), third)
    return most - np.minimum(np.minimum(first, second), third)


def to_gray(image: np.ndarray) -> np.ndarray:
    """The luma of an RGB image `(H, W, 3)` (ITU-R BT.601, in which JPEG keeps what is not chroma noise), in
    all three channels and the image's type."""
    result = np.empty_like(image)
    for top in range(0, image.shape[0], 64):
        rows = slice(top, top + 64)
        red, green, blue = (image[rows, :, channel].astype(np.float32) for channel in range(3))
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        result[rows] = (luma if np.issubdtype(image.dtype, np.floating) else np.rint(luma))[..., None]
    return result


def to_batch(images: np.ndarray, device: torch.device | str = "cpu", pinned: bool = False) -> Tensor:
    """Images to a batch, channels last in memory.

    Args:
        images: `(N, H, W, 3)`, uint8, or float16 with 1 for white.
        device: where the batch goes.
        pinned: whether to copy it from pinned memory, without waiting for the copy; for CUDA.

    Returns:
        `(N, 3, H, W)` float32 in [0, 1] (float16 values are not clipped).
    """
    import torch

    batch = torch.from_numpy(np.require(images, requirements="W"))
    batch = batch.pin_memory().to(device, non_blocking=True) if pinned else batch.to(device)
    batch = batch.permute(0, 3, 1, 2).float()
    return batch / 255 if images.dtype == np.uint8 else batch


def to_image(batch: Tensor) -> np.ndarray:
    """A batch of one `(1, 3, H, W)`, white being 1, to an image `(H, W, 3)` uint8, clipped and rounded."""
    return (batch[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
