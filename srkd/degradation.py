"""How LR images of real photographs are made, as data: the ranges that random degradations are drawn from.

srkd.data.degrade draws them. This module imports no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from srkd.config import build
from srkd.errors import UsageError

Preset = Literal["none", "real", "web", "camera"]
Mode = Literal["area", "bilinear", "bicubic", "antialiased"]


@dataclass(frozen=True)
class Degradation:
    """Two rounds of blur, resizing, noise and JPEG, and a last filter. The defaults are the published ones of
    Real-ESRGAN x4plus (Wang et al. 2021, arXiv 2107.10833), under the names of its options; a 2 at the end
    is the second round's. Every range is two numbers, drawn from uniformly.

    Args:
        preset: where the other values come from: `real`, the published ones; `web`, resizing and JPEG;
            `camera`, noise and light blur.
        clean: the share of images that are not degraded: their LR is bicubic's.
        kernel_size: odd sides of blur and sinc kernels, in pixels.
        kernel_prob: chances of the blur kernels iso, aniso, generalized_iso, generalized_aniso, plateau_iso
            and plateau_aniso.
        sinc_prob: the chance of a sinc filter in place of a blur.
        betag_range, betap_range: shape of generalised Gaussian and plateau kernels; below and above 1 are
            equally likely.
        resize_modes: the ways to resize, each as likely; `antialiased` is bicubic with a wider kernel.
        gaussian_noise_prob: the chance that noise is Gaussian, not Poisson.
        gray_noise_prob: the chance that noise is the same in all channels.
        final_sinc_prob: the chance of a sinc filter after the last resizing.
        blur_prob, blur_prob2: the chance of a blur.
        blur_sigma, blur_sigma2: its standard deviation along each axis, in pixels.
        resize_prob, resize_prob2: chances of enlarging, shrinking, keeping.
        resize_range, resize_range2: the smallest and the largest factor; the second round's is of the LR
            size.
        noise_prob, noise_prob2: the chance of noise.
        noise_range, noise_range2: standard deviation of Gaussian noise, in 8-bit levels.
        poisson_scale_range, poisson_scale_range2: factor of Poisson noise.
        jpeg_prob, jpeg_prob2: the chance of JPEG.
        jpeg_range, jpeg_range2: its quality, 1 to 100.
    """

    preset: Preset = "real"
    clean: float = 0.0
    kernel_size: tuple[int, int] = (7, 21)
    kernel_prob: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    sinc_prob: float = 0.1
    betag_range: tuple[float, float] = (0.5, 4.0)
    betap_range: tuple[float, float] = (1.0, 2.0)
    resize_modes: tuple[Mode, ...] = ("area", "bilinear", "bicubic")
    gaussian_noise_prob: float = 0.5
    gray_noise_prob: float = 0.4
    final_sinc_prob: float = 0.8
    blur_prob: float = 1.0
    blur_sigma: tuple[float, float] = (0.2, 3.0)
    resize_prob: tuple[float, float, float] = (0.2, 0.7, 0.1)
    resize_range: tuple[float, float] = (0.15, 1.5)
    noise_prob: float = 1.0
    noise_range: tuple[float, float] = (1.0, 30.0)
    poisson_scale_range: tuple[float, float] = (0.05, 3.0)
    jpeg_prob: float = 1.0
    jpeg_range: tuple[float, float] = (30.0, 95.0)
    blur_prob2: float = 0.8
    blur_sigma2: tuple[float, float] = (0.2, 1.5)
    resize_prob2: tuple[float, float, float] = (0.3, 0.4, 0.3)
    resize_range2: tuple[float, float] = (0.3, 1.2)
    noise_prob2: float = 1.0
    noise_range2: tuple[float, float] = (1.0, 25.0)
    poisson_scale_range2: tuple[float, float] = (0.05, 2.5)
    jpeg_prob2: float = 1.0
    jpeg_range2: tuple[float, float] = (30.0, 95.0)

    def __post_init__(self) -> None:
        for entry in fields(self):
            _check(entry.name, getattr(self, entry.name))


# What differs from the published values.
PRESETS: dict[str, dict[str, Any]] = {
    "real": {},
    # As sites do it: shrunk and saved, twice.
    "web": {
        "resize_modes": ("area", "antialiased"),
        "final_sinc_prob": 0.3,
        **{"blur_prob": 0.5, "blur_sigma": (0.2, 0.8), "blur_prob2": 0.0},
        **{"resize_prob": (0.1, 0.6, 0.3), "resize_range": (0.5, 1.2)},
        **{"resize_prob2": (0.1, 0.4, 0.5), "resize_range2": (0.6, 1.2)},
        **{"noise_prob": 0.0, "noise_prob2": 0.0},
        **{"jpeg_range": (40.0, 95.0), "jpeg_range2": (40.0, 95.0)},
    },
    # A lens, a sensor whose pixels average what falls on them, and the JPEG of good quality that it saves.
    "camera": {
        **{"resize_modes": ("area",), "sinc_prob": 0.0, "final_sinc_prob": 0.0},
        **{"blur_sigma": (0.2, 1.6), "blur_prob2": 0.0},
        **{"resize_prob": (0.0, 0.0, 1.0), "resize_prob2": (0.0, 0.0, 1.0)},
        **{"noise_prob": 0.0, "noise_range2": (1.0, 20.0), "poisson_scale_range2": (0.05, 1.5)},
        **{"jpeg_prob": 0.0, "jpeg_prob2": 0.7, "jpeg_range2": (80.0, 98.0)},
    },
}


def make_degradation(value: str | Mapping[str, Any]) -> Degradation | None:
    """The degradation that a recipe names.

    Args:
        value: a preset, or a mapping of the fields of Degradation over those of its `preset` (`real` when not
            given).

    Returns:
        All its values; None for the preset `none`.

    Raises:
        UsageError: an unknown preset or field, or a value of the wrong type or out of range.
    """
    if not isinstance(value, str | Mapping):
        raise UsageError(f"degradation: expected a preset or a mapping, not {value!r}")
    given = {"preset": value} if isinstance(value, str) else dict(value)
    preset = given.setdefault("preset", "real")
    if preset not in get_args(Preset):
        raise UsageError(f"degradation: '{preset}' is not one of {', '.join(get_args(Preset))}")
    if preset == "none":
        if len(given) > 1:
            key = next(key for key in given if key != "preset")
            raise UsageError(f"degradation: the preset none has no '{key}'; give real, web or camera")
        return None
    return build(Degradation, {**PRESETS[preset], **given}, "degradation")


def shorten(degradation: Degradation | None) -> str | dict[str, Any]:
    """What `make_degradation` makes a degradation of: its preset, with what differs from it if anything."""
    if degradation is None:
        return "none"
    usual = asdict(Degradation(**{"preset": degradation.preset, **PRESETS[degradation.preset]}))
    changed = {key: value for key, value in asdict(degradation).items() if value != usual[key]}
    return {"preset": degradation.preset, **changed} if changed else degradation.preset


# The least and the greatest value of ranges, by their names without the 2.
_BOUNDS = {
    "kernel_size": (3, 99),
    "betag_range": (0.01, math.inf),
    "betap_range": (0.01, math.inf),
    "blur_sigma": (0.01, math.inf),
    "resize_range": (0.01, 10),
    "noise_range": (0, 255),
    "poisson_scale_range": (0, math.inf),
    "jpeg_range": (1, 100),
}


def _check(name: str, value: Any) -> None:
    """Raises UsageError for a field out of range."""
    where, bounds = f"degradation.{name}", _BOUNDS.get(name.removesuffix("2"))
    if bounds is not None:
        least, greatest = bounds
        if not least <= value[0] <= value[1] <= greatest or math.isinf(value[1]):
            limit = f"from {least:g}" + ("" if math.isinf(greatest) else f" to {greatest:g}")
            raise UsageError(f"{where} must be two numbers {limit}, the smaller first, not {_show(value)}")
        if name == "kernel_size" and not all(side % 2 for side in value):
            raise UsageError(f"{where}: sides of kernels are odd, not {_show(value)}")
    elif name == "resize_modes":
        if not value:
            raise UsageError(f"{where} must name at least one of {', '.join(get_args(Mode))}")
    elif isinstance(value, tuple):
        count = 6 if name == "kernel_prob" else 3
        if len(value) != count or not all(0 <= v <= 1 for v in value) or not math.isclose(sum(value), 1):
            raise UsageError(f"{where} must be {count} chances that sum to 1, not {_show(value)}")
    elif isinstance(value, float) and not 0 <= value <= 1:
        raise UsageError(f"{where} is a chance from 0 to 1, not {value}")


def _show(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
