"""Timing in turns: what is compared runs alternately in one process, so that drift affects all alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Seconds between entries: threads of a pool spin for a while after their work and would slow the next entry.
PAUSE = 0.05

# Does its work for a turn, given by number; returns seconds by row of the table.
Entry = Callable[[int], Mapping[str, float]]


def time_call(work: Callable[[], object], repeats: int = 1) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def timed(row: str, work: Callable[[], object], repeats: int = 1) -> Entry:
    """An entry of one row that does the same work every turn."""
    return lambda turn: {row: time_call(work, repeats)}


def take_turns(entries: Sequence[Entry], turns: int) -> dict[str, list[float]]:
    """Seconds by row, one value per turn. The order rotates; an extra first turn warms up."""
    found: dict[str, list[float]] = {}
    for turn in range(-1, turns):
        first = turn % len(entries)
        for entry in (*entries[first:], *entries[:first]):
            time.sleep(PAUSE)
            for row, seconds in entry(turn).items():
                if turn >= 0:
                    found.setdefault(row, []).append(seconds)
    return found


def summarise(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Median and quartiles, to four digits."""
    low, middle, high = (float(f"{value:.4g}") for value in np.percentile(values, (25, 50, 75)))
    return {"median": middle, "quartiles": [low, high]}


def compare_to(base: str, found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The median seconds of the row `base`, and each other row's ratio to it within a turn."""
    ratios = {row: np.divide(seconds, found[base]) for row, seconds in found.items() if row != base}
    return {
        "base": base,
        "base_seconds": round(float(np.median(found[base])), 4),
        "to_base": {row: {**summarise(each), "turns": len(each)} for row, each in ratios.items()},
    }
