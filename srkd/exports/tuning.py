"""Quantization-aware fine-tuning of a fused network towards its own fp32 images.

By torch's own fake quantization: plain convolutions come out, which every runtime's quantizer takes. nncf 3.4
was tried; it compiles a C++ extension as it is used first, which takes a compiler and more than a minute.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srkd.exports.rounding import round_convolutions
from srkd.models.copies import copy_without_hooks
from srkd.terminal import Progress

# Crops of LR images, as many at once, and the rate that Adam starts with; it falls to nothing as a cosine.
_SIDE, _BATCH, _RATE = 48, 4, 1e-4


def tune(
    fused: nn.Module,
    images: Sequence[np.ndarray],
    steps: int,
    progress: Progress | None = None,
    floats: Sequence[str] = (),
) -> nn.Module:
    """Fine-tunes a network so that int8 loses less: its convolutions are computed as in int8, and the images
    are drawn towards those of the network as it was, by L1.

    Args:
        fused: the network, in eval mode.
        images: LR images `(1, 3, H, W)` in [0, 1], which set the ranges, too.
        steps: of Adam.
        progress: called as progress(description, done, total).
        floats: names of convolutions that stay float32, beside the first and the last.

    Returns:
        A copy of the same layers with other weights.
    """
    student = copy_without_hooks(fused).requires_grad_(True)
    parameters = [value for value in student.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(parameters, _RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    rng = np.random.default_rng(0)
    with round_convolutions(student, images, floats):
        for step in range(steps):
            batch = _draw(images, rng)
            with torch.no_grad():
                target = fused(batch)
            loss = F.l1_loss(student(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
            if progress is not None:
                progress("fine-tuning for int8", step + 1, steps)
    return student.requires_grad_(False)


def _draw(images: Sequence[np.ndarray], rng: np.random.Generator) -> Tensor:
    """Crops at random places, flipped and turned at random."""
    side = min(_SIDE, *(min(image.shape[2:]) for image in images))
    crops = []
    for number in rng.integers(len(images), size=_BATCH):
        image = images[number][0]
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[1:])
        crop = image[:, top : top + side, left : left + side]
        crop = np.rot90(crop, int(rng.integers(4)), (1, 2))
        crops.append(crop[..., ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops)))
