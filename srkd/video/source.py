"""Moving pictures as they are read: frames, and what is wrong with them."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from srkd.images.photo import Photo

# Times of faults that are told one by one.
_TOLD = 5


class Frame(NamedTuple):
    """A frame.

    Args:
        photo: its pixels, upright.
        start, duration: when and how long it is shown, in its source's unit of time.
    """

    photo: Photo
    start: int
    duration: int


class Colour(NamedTuple):
    """What the numbers of a clip mean: ITU-T H.273's codes of the matrix, range (1 limited, 2 full),
    primaries and transfer."""

    matrix: int
    range: int
    primaries: int
    transfer: int


@dataclass
class Faults:
    """What went wrong while frames were read: stretches of time in seconds, by what happened."""

    found: dict[str, list[list[float]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, time: float) -> None:
        """Notes a fault; those within a second of one another are one stretch."""
        self.counts[what] += 1
        stretches = self.found.setdefault(what, [])
        if stretches and 0 <= time - stretches[-1][1] <= 1:
            stretches[-1][1] = time
        else:
            stretches.append([time, time])

    def describe(self) -> list[str]:
        """A sentence for each kind, with its times."""
        said = []
        for what, stretches in self.found.items():
            times = [
                show_time(first) if first == last else f"{show_time(first)} to {show_time(last)}"
                for first, last in stretches[:_TOLD]
            ]
            more = f" and {len(stretches) - _TOLD} times more" if len(stretches) > _TOLD else ""
            count = self.counts[what]
            said.append(f"{count} {what.replace('{s}', 's' * (count != 1))}, at {', '.join(times)}{more}")
        return said


# Gives the frames from a number on.
Read = Callable[[int, Faults], Iterator[Frame]]


@dataclass(frozen=True)
class Source:
    """Moving pictures, ready to be read.

    Args:
        path: the file.
        size: width and height, upright.
        count: how many frames there are, or about as many.
        unit: of time, in seconds.
        read: gives the frames from a number on, and notes what is wrong.
        rate: frames a second on average.
        kind: the name of its format.
        declared: how many frames its header declares, 0 where it does not.
        bits: of a channel.
        alpha: whether frames may be transparent.
        aspect: width of a pixel over its height.
        colour: what the numbers mean, None for sRGB.
        plays: how often an animation is played, 0 for ever.
        lossless: whether its format, which can be lossy, holds it without loss.
        profile: its colour profile (ICC).
        lost: what is not carried over, a sentence each.
    """

    path: Path
    size: tuple[int, int]
    count: int
    unit: Fraction
    read: Read
    rate: Fraction
    kind: str
    declared: int = 0
    bits: int = 8
    alpha: bool = False
    aspect: Fraction = Fraction(1)
    colour: Colour | None = None
    plays: int = 0
    lossless: bool = False
    profile: bytes | None = None
    lost: tuple[str, ...] = ()


def show_time(seconds: float) -> str:
    """A time as players show it, `0:01:02.345`."""
    whole = round(seconds * 1000)
    minutes, rest = divmod(abs(whole), 60_000)
    sign = "-" if whole < 0 else ""
    return f"{sign}{minutes // 60}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
