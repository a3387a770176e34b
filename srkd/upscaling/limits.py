"""What the options of upscaling may be."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

from srkd.errors import UsageError
from srkd.files import describe_value


class _Limit(NamedTuple):
    """The kind of number, what it must fulfil, and both in words."""

    kind: type
    fits: Callable[[Any], bool]
    words: str


_LIMITS = {
    "scale": _Limit(Real, lambda value: 0 < value <= 64, "a number above 0, at most 64"),
    "width": _Limit(Integral, lambda value: 0 < value <= 10**6, "a whole number of pixels above 0"),
    "height": _Limit(Integral, lambda value: 0 < value <= 10**6, "a whole number of pixels above 0"),
    "tile": _Limit(Integral, lambda value: value >= 0, "a whole number of pixels, 0 for the whole image"),
    "threads": _Limit(Integral, lambda value: value > 0, "a whole number above 0"),
    "quality": _Limit(Integral, lambda value: 1 <= value <= 100, "a whole number from 1 to 100"),
    "crf": _Limit(Integral, lambda value: 0 <= value <= 63, "a whole number from 0 to 63"),
    "sharpness": _Limit(Real, lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    "megapixels": _Limit(Real, lambda value: value > 0, "a number above 0"),
}


def check_options(**options: Any) -> None:
    """Raises UsageError unless each option is in its range; None is, too."""
    for name, value in options.items():
        limit = _LIMITS[name]
        # Of the whole numbers, True and False are not meant.
        number = isinstance(value, limit.kind) and not isinstance(value, bool)
        if value is not None and not (number and limit.fits(value)):
            raise UsageError(f"{name} must be {limit.words}, not {describe_value(value)}")
