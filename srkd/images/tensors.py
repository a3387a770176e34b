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


def to_batch(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Images to a batch, channels last in memory.

    Args:
        images: `(N, H, W, 3)`, uint8, or float16 with 1 for white.
        device: where the batch goes.

    Returns:
        `(N, 3, H, W)` float32 in [0, 1] (float16 values are not clipped).
    """
    import torch

    batch = torch.from_numpy(np.require(images, requirements="W")).to(device)
    batch = batch.permute(0, 3, 1, 2).float()
    return batch / 255 if images.dtype == np.uint8 else batch


def to_image(batch: Tensor) -> np.ndarray:
    """A batch of one `(1, 3, H, W)`, white being 1, to an image `(H, W, 3)` uint8, clipped and rounded."""
    return (batch[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
