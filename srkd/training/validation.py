"""Validation while a stage runs: PSNR on whole images, and the largest answer to noise."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from srkd import metrics
from srkd.data import DataSet, Pair
from srkd.degradation import Degradation
from srkd.images import resample
from srkd.images.tensors import to_batch, to_image
from srkd.training.seeds import derive_seed

_STRIP = 128  # side of the pictures in a strip, in pixels


@torch.no_grad()
def validate(
    generator: nn.Module, pairs: Sequence[Pair], scale: int, device: torch.device, strips: int = 4
) -> tuple[float, list[np.ndarray]]:
    """Mean luma PSNR in dB over whole images, in full precision; infinite scores count as 100.

    Returns:
        The score, and of the first images the middle as bicubic, SR and HR side by side, uint8.
    """
    training = generator.training
    generator.eval()
    scores, pictures = [], []
    for pair in pairs:
        image = to_image(generator(to_batch(pair.lr[None], device)))
        scores.append(_psnr(image, pair, scale))
        if len(pictures) < strips:
            top, left = (max(side - _STRIP, 0) // 2 for side in image.shape[:2])
            trio = (resample.upscale_bicubic(pair.lr, scale), image, pair.hr)
            pictures.append(np.hstack([im[top : top + _STRIP, left : left + _STRIP] for im in trio]))
    generator.train(training)
    return float(np.mean(scores)), pictures


@torch.no_grad()
def largest_on_noise(generator: nn.Module, device: torch.device) -> float:
    """The largest absolute value in a generator's output for black and white noise in three channels."""
    noise = np.random.default_rng(0).integers(0, 2, (1, 48, 48, 3), np.uint8) * np.uint8(255)
    training = generator.training
    generator.eval()
    largest = float(generator(to_batch(noise, device)).abs().max())
    generator.train(training)
    return largest


def bicubic_psnr(pairs: Sequence[Pair], scale: int) -> float:
    """Mean `y-crop` PSNR of bicubic enlargement, in dB."""
    return float(np.mean([_psnr(resample.upscale_bicubic(p.lr, scale), p, scale) for p in pairs]))


def degrade_validation(data: DataSet, mix: Degradation) -> DataSet:
    """Validation images with LR drawn as in training, the same in every run."""
    from srkd.data.degrade import draw_lr

    pairs = []
    for pair in data.val:
        rng = np.random.default_rng(derive_seed(0, pair.name))
        pairs.append(replace(pair, lr=draw_lr(pair.lr, pair.hr, rng, mix)))
    return replace(data, val=pairs)


def _psnr(image: np.ndarray, pair: Pair, scale: int) -> float:
    return min(metrics.psnr(image, pair.hr, metrics.protocol_name("y-crop", scale)), metrics.LARGEST_PSNR)
