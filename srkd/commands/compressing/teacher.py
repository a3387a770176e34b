"""What a teacher is, from its file and from what it does to photographs: how it was trained, and on what."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srkd.data import Pair
from srkd.degradation import make_degradation
from srkd.errors import UsageError
from srkd.runtimes.runner import Runner
from srkd.terminal import track

Kind = Literal["psnr", "gan"]
LPIPS = "st-lpips-alex"
# The windows that a teacher is tried on: how many, and their side in LR pixels.
WINDOWS, SIDE = 4, 40
# The share of bicubic's LPIPS that it takes away for each dB of PSNR that it gains. Of this package's
# networks on Set5, Set14 and BSD100, those trained for PSNR have 0.19 to 0.23, those trained adversarially
# 0.43 to 1.4.
SHARP = 0.32
# On degraded photographs a restoring network's LPIPS is at most this share of bicubic's: Real-ESRGAN x4plus
# has 0.49 of it, DAT-light 0.93, srgan_teacher_psnr 1.08.
RESTORING = 0.75


@dataclass(frozen=True)
class Traits:
    """What a teacher is.

    Args:
        kind: trained for PSNR or adversarially.
        why_kind: what says so, in words.
        restoring: whether it repairs degraded photographs.
        why_restoring: what says so, in words.
        seconds_per_pixel: its time, for an LR pixel.
        scores: `psnr` and LPIPS of `teacher` and `bicubic` on `degraded` windows, and on `clean` ones where
            they were needed.
    """

    kind: Kind
    why_kind: str
    restoring: bool
    why_restoring: str
    seconds_per_pixel: float
    scores: dict[str, dict[str, dict[str, float]]]


def inspect_teacher(
    runner: Runner,
    pairs: Sequence[Pair],
    objective: str | None,
    discriminator: bool,
    kind: Kind | None = None,
) -> Traits:
    """Tries a teacher on degraded photographs, and on clean ones where only these can tell its kind.

    Args:
        runner: the teacher.
        pairs: windows of photographs.
        objective: what its file says that it was trained for.
        discriminator: whether it has one.
        kind: what the user says, if anything.

    Raises:
        UsageError: it is no better than bicubic, by any measure, and nothing else says what it is.
    """
    runner(pairs[0].lr)  # the first run prepares what later ones use
    scores = {}
    scores["degraded"], seconds = _try_teacher(runner, pairs, "degraded")
    restoring, why_restoring = _is_restoring(scores["degraded"])
    told = _read_kind(objective, discriminator, kind)
    if told is None and restoring:
        told = _tell_kind(scores["degraded"])
    elif told is None:
        scores["clean"], seconds = _try_teacher(runner, pairs, "clean")
        told = _tell_kind(scores["clean"])
    return Traits(*told, restoring, why_restoring, seconds, scores)


def _try_teacher(
    runner: Runner, pairs: Sequence[Pair], name: str
) -> tuple[dict[str, dict[str, float]], float]:
    """Mean scores of the `teacher` and of `bicubic`, and the teacher's seconds for an LR pixel."""
    from srkd.data.degrade import degrade

    mix = make_degradation("real")
    assert mix is not None
    found: dict[str, list[dict[str, float]]] = {"teacher": [], "bicubic": []}
    seconds = pixels = 0.0
    for number, pair in enumerate(track(pairs, f"trying the teacher on {name} photographs", len(pairs))):
        lr = pair.lr
        if name == "degraded":
            lr = degrade(pair.hr, runner.scale, np.random.default_rng([0, number]), mix)
        began = time.perf_counter()
        sr = runner(lr)
        seconds += time.perf_counter() - began
        pixels += lr.shape[0] * lr.shape[1]
        found["teacher"].append(_score(sr, pair, runner.scale))
        found["bicubic"].append(_score(_bicubic(lr, runner.scale), pair, runner.scale))
    means = {
        who: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for who, rows in found.items()
    }
    return means, seconds / pixels


def _is_restoring(scores: dict[str, dict[str, float]]) -> tuple[bool, str]:
    ratio = scores["teacher"]["lpips"] / scores["bicubic"]["lpips"]
    words = f"its LPIPS on degraded photographs is {ratio:.2f} times bicubic's"
    return ratio < RESTORING, words


def _read_kind(objective: str | None, discriminator: bool, kind: Kind | None) -> tuple[Kind, str] | None:
    """The kind that is said, and what says so; None where nothing does."""
    if kind is not None:
        return kind, "as it was said"
    if objective in ("psnr", "gan"):
        return ("gan" if objective == "gan" else "psnr"), "its file says so"
    return ("gan", "it has a discriminator") if discriminator else None


def _tell_kind(scores: dict[str, dict[str, float]]) -> tuple[Kind, str]:
    """The kind by scores, those on degraded photographs where the teacher repairs them."""
    gain = scores["teacher"]["psnr"] - scores["bicubic"]["psnr"]
    removed = 1 - scores["teacher"]["lpips"] / scores["bicubic"]["lpips"]
    if gain <= 0 and removed <= 0:
        raise UsageError(
            f"the teacher is worse than bicubic on these photographs ({gain:+.2f} dB, LPIPS "
            f"{-removed:+.0%}); is it "
            "a super-resolution network for such photographs?"
        )
    words = f"{gain:+.2f} dB and {-removed:+.0%} LPIPS from bicubic"
    return ("gan" if removed > SHARP * max(gain, 0) else "psnr"), words


def cut_windows(pairs: Sequence[Pair], scale: int, count: int = WINDOWS, side: int = SIDE) -> list[Pair]:
    """The busiest window of each of the first pairs."""
    from srkd.reports.page import busiest_window

    windows = []
    for pair in pairs[:count]:
        edge = min(side * scale, *pair.hr.shape[:2])
        edge -= edge % scale
        top, left = (place - place % scale for place in busiest_window(pair.hr, edge))
        windows.append(cut(pair, top, left, edge, scale))
    return windows


def cut(pair: Pair, top: int, left: int, edge: int, scale: int) -> Pair:
    """A square of a pair, by its place and side in HR pixels."""
    hr = np.ascontiguousarray(pair.hr[top : top + edge, left : left + edge])
    small = [slice(place // scale, (place + edge) // scale) for place in (top, left)]
    return Pair(pair.name, np.ascontiguousarray(pair.lr[small[0], small[1]]), hr, pair.sha256)


def _bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    from srkd.images.resample import upscale_bicubic

    return upscale_bicubic(lr, scale)


def _score(sr: np.ndarray, pair: Pair, scale: int) -> dict[str, float]:
    from srkd import metrics
    from srkd.metrics.perceptual import lpips

    psnr = min(metrics.psnr(sr, pair.hr, metrics.protocol_name("y-crop", scale)), metrics.LARGEST_PSNR)
    return {"psnr": psnr, "lpips": lpips(sr, pair.hr, LPIPS, "cpu")}


def find_discriminator(path: Path, given: Any) -> Path | None:
    """A teacher's discriminator: the one given, or the one beside it as training writes it."""
    beside = path.with_name(f"{path.stem}_discriminator.safetensors")
    return Path(given) if given is not None else beside if beside.is_file() else None
