"""Whether an export computes what the generator does, and what a precision costs."""

from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import Any

import numpy as np

from srkd.errors import SrkdError

# Largest difference to torch on noise, in image units of [0, 1]. A tenth of an 8-bit level in fp32. Two
# levels in fp16: trained networks differ by a fifth of one, near what rounding the output itself costs. None
# in int8: noise lies outside the ranges that photographs set. Its PSNR on photographs is bounded instead.
BOUNDS = {"fp32": 0.1 / 255, "fp16": 2 / 255, "int8": inf}
# What int8 may cost on photographs, in dB of PSNR to HR: more than networks were measured to lose (0.03 the
# shipped student, 0.12 a briefly trained SPAN), far less than where quantizing goes wrong (2.7, that SPAN
# with its first and last convolution too).
INT8_LOSS = 0.3

Run = Callable[[np.ndarray], np.ndarray]
# Those of conversion, odd ones, and one that is narrower than any convolution.
_SIZES = ((24, 32), (37, 23), (64, 61), (1, 5))
_TURNS = 2


def compare(model: Any, run: Run, bound: float, batches: bool) -> tuple[float, float]:
    """Greatest and mean absolute difference between torch and the exported file on noise of several sizes,
    in pairs where the format takes batches.

    Raises:
        SrkdError: the shapes differ, or a value by more than the bound.
    """
    import torch

    rng = np.random.default_rng(0)
    differences = []
    for height, width in _SIZES:
        batch = rng.random((2 if batches else 1, 3, height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = model(torch.from_numpy(batch)).numpy()
        found = run(batch)
        if found.shape != expected.shape:
            raise SrkdError(
                f"the export makes {found.shape} of {batch.shape}, not {expected.shape}; nothing was written"
            )
        differences.append(np.abs(found - expected).ravel())
    every = np.concatenate(differences)
    # NaN is never within the bound.
    if not every.max() <= bound:
        raise SrkdError(
            f"the export differs from torch by {every.max():.2g}, more than {bound:.2g}; nothing was written"
        )
    return float(every.max()), float(every.mean())


def weigh(run: Run, plain: Run, scale: int, precision: str) -> str:
    """What a precision costs and gains beside fp32, on photographs that training has not seen.

    Raises:
        SrkdError: int8 costs more than it may.
    """
    from srkd.data import EMBEDDED_TEST, embedded_photos, read_pair
    from srkd.metrics.scores import protocol_name, psnr

    protocol = protocol_name("y-crop", scale)
    own, full, between, times = [], [], [], []
    for path in embedded_photos(EMBEDDED_TEST):
        pair = read_pair(path, None, scale)
        batch = pair.lr.transpose(2, 0, 1)[None].astype(np.float32) / 255
        # The first turn also prepares, so it is not timed; then by turns, so that both meet the same machine.
        ours, theirs = _to_image(run(batch)), _to_image(plain(batch))
        times += [_seconds(run, batch) / _seconds(plain, batch) for _ in range(_TURNS)]
        own.append(psnr(ours, pair.hr, protocol))
        full.append(psnr(theirs, pair.hr, protocol))
        between.append(psnr(ours, theirs, protocol))
    loss = float(np.mean(full) - np.mean(own))
    if precision == "int8" and not loss <= INT8_LOSS:
        raise SrkdError(
            f"int8 loses {loss:.2f} dB on {len(own)} photographs, more than {INT8_LOSS} dB; nothing was "
            "written; calibrate on photographs like yours with --calibrate, or use fp16"
        )
    return (
        f"{np.mean(own):.2f} dB on {len(own)} photographs where fp32 has {np.mean(full):.2f}, "
        f"{np.mean(between):.1f} dB from one to the other, in {np.median(times):.2f} times its time"
    )


def _to_image(batch: np.ndarray) -> np.ndarray:
    return np.rint(batch[0].transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)


def _seconds(run: Run, batch: np.ndarray) -> float:
    start = perf_counter()
    run(batch)
    return perf_counter() - start
