"""Checks that an export computes what the generator does, and measures what a precision costs."""

from math import inf
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from srkd.errors import SrkdError
from srkd.exports.request import ANY, Shape
from srkd.images.tensors import to_levels, to_planes
from srkd.runtimes.foreign import by_tiles
from srkd.runtimes.runner import Run

# Largest allowed difference to torch on noise, in image units of [0, 1]. fp32: a tenth of an 8-bit level.
# fp16: two levels; trained networks differ by a fifth of one, about what rounding the output itself costs.
# int8: no bound, since noise lies outside the ranges that photographs set; the loss in PSNR on photographs is
# bounded instead.
BOUNDS = {"fp32": 0.1 / 255, "fp16": 2 / 255, "int8": inf}
# Largest loss of PSNR on photographs that int8 may cost, in dB. Networks were measured to lose less (0.1 the
# shipped ones), and far more where quantization goes wrong (2.7, a SPAN with its first and last convolution
# quantized, too).
INT8_LOSS = 0.3
# Beyond this loss, in dB, a network is fine-tuned for int8.
TUNED_LOSS = 0.1
# Run times as a multiple of fp32's that are called slower; less is noise.
SLOWER = 1.05

# The size used at conversion, odd ones, and one that is narrower than any convolution.
_SIZES = ((24, 32), (37, 23), (64, 61), (1, 5))
_ROUNDS = 2


def check_parity(
    model: nn.Module, run: Run, bound: float, batches: bool, shape: Shape = ANY
) -> tuple[float, float]:
    """Compares torch and an exported file on noise of several sizes, or of the one that it takes.

    Args:
        model: the generator, in eval mode.
        run: runs the exported file.
        bound: largest allowed difference, in image units of [0, 1].
        batches: whether to run two images at a time.
        shape: the file's.

    Returns:
        The largest and the mean absolute difference.

    Raises:
        SrkdError: the shapes differ, or a value differs by more than the bound.
    """
    rng = np.random.default_rng(0)
    differences = []
    count = shape.batch or (2 if batches else 1)
    for height, width in _SIZES if shape.size is None else (shape.size,):
        batch = rng.random((count, 3, height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(batch)).numpy()
        found = run(batch)
        if found.shape != expected.shape:
            raise SrkdError(
                f"the export returns {found.shape} for {batch.shape}, not {expected.shape}; "
                "nothing was written"
            )
        differences.append(np.abs(found - expected).ravel())
    every = np.concatenate(differences)
    # NaN is never within the bound.
    if not every.max() <= bound:
        raise SrkdError(
            f"the export differs from torch by {every.max():.2g}, more than {bound:.2g}; nothing was written"
        )
    return float(every.max()), float(every.mean())


def at_any_size(run: Run, shape: Shape, scale: int) -> Run:
    """What runs one image of any size, where a file takes one size, or several images at once."""
    count = shape.batch
    one = run if count in (None, 1) else lambda batch: run(np.repeat(batch, count, axis=0))[:1]
    return one if shape.size is None else by_tiles(one, *shape.size, scale, "the export")


class Measured(NamedTuple):
    """What a precision costs on photographs: mean PSNR in dB of the export, of fp32 and between the two, how
    many photographs, and the run time as a multiple of fp32's."""

    own: float
    full: float
    between: float
    photographs: int
    ratio: float

    @property
    def loss(self) -> float:
        """What it loses, in dB."""
        return self.full - self.own

    def describe(self, timed: bool = True) -> str:
        """The result in words, with the run time unless it says nothing."""
        text = (
            f"{self.own:.2f} dB on {self.photographs} photographs (fp32: {self.full:.2f} dB), "
            f"{self.between:.1f} dB between the two"
        )
        if timed:
            text += f", {self.ratio:.2f} times the fp32 run time"
            text += ": slower than fp32 on this machine" if self.ratio > SLOWER else ""
        return text


def measure_precision(run: Run, plain: Run, scale: int) -> Measured:
    """Measures PSNR and speed against fp32, on photographs that training has not seen.

    Args:
        run: runs one image in the exported file.
        plain: runs one image in the same network exported as fp32.
        scale: the super-resolution factor.
    """
    from srkd.data import EMBEDDED_TEST, embedded_photos, read_pair
    from srkd.metrics.scores import protocol_name, psnr

    protocol = protocol_name("y-crop", scale)
    own, full, between, times = [], [], [], []
    for path in embedded_photos(EMBEDDED_TEST):
        pair = read_pair(path, None, scale)
        batch = to_planes(pair.lr)
        # The first pass warms up and is not timed. Then in alternation, so that both run under the same load.
        ours, theirs = _to_image(run(batch)), _to_image(plain(batch))
        times += [_seconds(run, batch) / _seconds(plain, batch) for _ in range(_ROUNDS)]
        own.append(psnr(ours, pair.hr, protocol))
        full.append(psnr(theirs, pair.hr, protocol))
        between.append(psnr(ours, theirs, protocol))
    ours_db, full_db, between_db = (float(np.mean(values)) for values in (own, full, between))
    return Measured(ours_db, full_db, between_db, len(own), float(np.median(times)))


def check_loss(found: Measured) -> None:
    """Raises SrkdError where int8 loses more than INT8_LOSS."""
    if not found.loss <= INT8_LOSS:
        raise SrkdError(
            f"int8 loses {found.loss:.2f} dB on {found.photographs} photographs, more than {INT8_LOSS} dB; "
            "nothing was written; calibrate on photographs like yours with --calibrate, or use fp16"
        )


def _to_image(batch: np.ndarray) -> np.ndarray:
    return to_levels(batch[0].transpose(1, 2, 0), np.uint8)


def _seconds(run: Run, batch: np.ndarray) -> float:
    start = perf_counter()
    run(batch)
    return perf_counter() - start
