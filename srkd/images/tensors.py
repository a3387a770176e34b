"""Images as arrays `(H, W, 3)` to tensors `(N, 3, H, W)`, and back."""

import numpy as np
import torch
from torch import Tensor


def to_batch(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Images to a batch, channels last in memory.

    Args:
        images: `(N, H, W, 3)`, uint8, or float16 with 1 for white.
        device: where the batch goes.

    Returns:
        `(N, 3, H, W)` float32 in [0, 1] (float16 values are not clipped).
    """
    batch = torch.from_numpy(np.require(images, requirements="W")).to(device)
    batch = batch.permute(0, 3, 1, 2).float()
    return batch / 255 if images.dtype == np.uint8 else batch


def to_image(batch: Tensor) -> np.ndarray:
    """A batch of one `(1, 3, H, W)`, white being 1, to an image `(H, W, 3)` uint8, clipped and rounded."""
    return (batch[0].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
