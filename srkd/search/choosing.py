"""The search for the student: which of the candidates is worth most within the budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srkd.errors import SrkdError
from srkd.models.base import Generator
from srkd.search.budgets import Budget, worst
from srkd.search.candidates import Candidate, has_start, list_candidates
from srkd.search.latency import LatencyModel, Measured, fit_latency
from srkd.search.profiles import Profile
from srkd.search.quality import load_quality
from srkd.search.timing import Place, Stopwatch, warn_if_busy
from srkd.terminal import say

# A student is chosen that takes no more than this share of the time: measured again it may take a little
# more.
MARGIN = 0.97
# Expected qualities that are nearer than this, in dB, are one.
TIE = 0.05
# The least that a trained start was worth, in dB, in benchmarks/compress/inheritance.json and
# benchmarks/recipe: what a student misses that has to start from fresh weights.
HEAD_START = 0.5
# Candidates that are measured in a round, and how many rounds.
_SHORTLIST, _ROUNDS = 4, 4
# A candidate this much over its budget by the model may still be within it.
_DOUBT = 0.1


@dataclass
class Row:
    """A candidate in the table.

    Args:
        candidate: which.
        quality: expected PSNR over bicubic's, in dB; less HEAD_START where others have a trained start and it
            has none.
        costs: by the budgets' keys: predicted, or measured.
        measured: the spread of what was measured, by the same keys: `seconds`, `quartiles`, `turns`.
        excess: how far over the budgets, as a share of the limit; 0 or less within all of them.
    """

    candidate: Candidate
    quality: float
    costs: dict[str, float]
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    excess: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"name": self.candidate.name, **asdict(self)}


@dataclass
class Search:
    """What the search found.

    Args:
        rows: all candidates, the best expected quality first.
        chosen: the best within the budgets, of equal ones the shallowest; None where none is.
        nearest: the one that is least over them.
        latency: the model of times; None where no time is limited.
        notes: sentences on how it was found.
        checked: names of the candidates whose files were written and timed, where a budget needs that; else
            of all.
        busy: whether other programs disturbed the times.
        profiled: whether times are predicted from those of another device.
    """

    rows: list[Row]
    chosen: Row | None
    nearest: Row
    latency: LatencyModel | None
    notes: list[str]
    checked: set[str]
    busy: bool = False
    profiled: bool = False

    def runners_up(self, count: int) -> list[Row]:
        """The best that are known to keep the budgets, the chosen one first."""
        kept = [row for row in self.rows if row.excess <= 0 and row.candidate.name in self.checked]
        return sorted(kept, key=lambda row: row is not self.chosen)[:count]

    def shown(self, count: int = 12) -> list[Row]:
        """The rows that a reader wants: all that was measured, and the best within the budgets."""
        kept = [row for row in self.rows if row.measured or row is self.chosen or row is self.nearest]
        more = [row for row in self.rows if row.excess <= 0 and row not in kept]
        names = {row.candidate.name for row in [*kept, *more[: max(count - len(kept), 0)]]}
        return [row for row in self.rows if row.candidate.name in names]


class Searcher:
    """Finds the student for budgets.

    Args:
        budgets: what it may cost.
        place: where it will run.
        scale: the super-resolution factor.
        folder: for the files that are timed.
        architectures: those to take; all when None.
        profile: times of another device, in place of this machine's.
        trained: networks whose weights a student may start from.
        runners: how many of the best to check, as for a race.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        place: Place,
        scale: int,
        folder: Path,
        architectures: list[str] | None = None,
        profile: Profile | None = None,
        trained: Sequence[Generator] = (),
        runners: int = 1,
    ):
        self.budgets, self.place, self.profile = list(budgets), place, profile
        self.times = [b for b in budgets if b.kind == "time"]
        sizes = list(dict.fromkeys(b.size for b in self.times if b.size and profile is None))
        # Parameters and multiply-accumulates are known without writing a file, and by a profile times are.
        known = ("parameters", "macs", *(("time",) if profile else ()))
        self.counted = all(b.kind in known for b in budgets)
        self.watch = Stopwatch(place, scale, sizes, folder)
        self.candidates = list_candidates(scale, architectures)
        self.scale, self.latency, self.busy, self.runners = scale, None, False, runners
        self.quality = load_quality()
        self.started = {one.name for one in self.candidates if has_start(one, scale, trained)}

    def run(self) -> Search:
        """Measures, fits, checks what it would pick by measuring that, and picks."""
        notes = [self.quality.describe()]
        fresh = len(self.candidates) - len(self.started)
        if self.started and fresh:
            notes.append(
                f"starts: {len(self.started)} candidates start from trained weights; {HEAD_START} dB is "
                f"taken from the expected quality of the {fresh} that cannot"
            )
        if self.profile is not None:
            self.latency = fit_latency(self.profile.measured(self.scale))
            notes.append(f"times: predicted from {self.profile.machine}, {self.latency.describe()}")
        elif self.times:
            self._measure_spread()
        if not self.counted:
            self._check_best()
            if self.runners > 1:
                self._check_runners()
            if self.profile is None and self.latency is not None:
                fast = sum(1 for name, _ in self.watch.times)
                notes.append(
                    f"times: {fast} measurements here ({self.place.describe()}); the model that ranks the "
                    f"others is "
                    f"{self.latency.describe()}"
                )
        rows = self._rows()
        within = [row for row in rows if row.excess <= 0 and self._is_checked(row)]
        # Of those that the quality model does not tell apart, the one with the fewest layers, the fastest.
        tied = [row for row in within if within[0].quality - row.quality <= TIE]
        chosen = min(tied, key=lambda row: row.candidate.layers, default=None)
        nearest = min(rows, key=lambda row: (row.excess, -row.quality))
        checked = {row.candidate.name for row in rows if self._is_checked(row)}
        profiled = self.profile is not None
        return Search(rows, chosen, nearest, self.latency, notes, checked, self.busy, profiled)

    def _is_checked(self, row: Row) -> bool:
        """Whether a row may be chosen: what is measured here must have been."""
        return self.counted or row.candidate.name in self.watch.bytes

    def _rows(self) -> list[Row]:
        rows = []
        for one in self.candidates:
            costs = {b.key: self._cost(one, b) for b in self.budgets}
            row = Row(one, self._expected(one), costs)
            row.measured = {
                b.key: self.watch.times[one.name, b.size]
                for b in self.times
                if b.size and (one.name, b.size) in self.watch.times
            }
            row.excess = worst(self.budgets, self._guarded(row))[1]
            rows.append(row)
        return sorted(rows, key=lambda row: (-row.quality, row.candidate.macs))

    def _expected(self, one: Candidate) -> float:
        behind = bool(self.started) and one.name not in self.started
        return self.quality.predict(one) - HEAD_START * behind

    def _guarded(self, row: Row) -> dict[str, float]:
        """A row's costs with the margins of what is measured or predicted."""
        factor = 1 / MARGIN
        if self.profile is not None and self.latency is not None:
            factor = 1 + self.latency.error
        times = {b.key for b in self.times}
        return {key: value * factor if key in times else value for key, value in row.costs.items()}

    def _cost(self, one: Candidate, budget: Budget) -> float:
        if budget.kind == "parameters":
            return one.parameters
        if budget.kind == "bytes":
            return self.watch.bytes.get(one.name, self._estimate_bytes(one))
        width, height = budget.size or (0, 0)
        if budget.kind == "macs":
            return one.macs * np.ceil(width / self.scale) * np.ceil(height / self.scale)
        facts = self.watch.times.get((one.name, (width, height)))
        if facts is not None:
            return facts["seconds"]
        return self.latency.predict(one, width * height) if self.latency else float("nan")

    def _estimate_bytes(self, one: Candidate) -> float:
        """The size of a file that is not written: what its weights take, corrected by those that are."""
        known = {other.name: other.file_bytes(self.place.precision) for other in self.candidates}
        ratios = [size / known[name] for name, size in self.watch.bytes.items()]
        return known[one.name] * (float(np.median(ratios)) if ratios else 1.0)

    def _possible(self) -> list[Candidate]:
        """The candidates that keep what needs no measuring, smallest first; a file's size within 2 %."""
        fixed = [b for b in self.budgets if b.kind != "time"]
        slack = {b.key: 0.98 if b.kind == "bytes" else 1.0 for b in fixed}
        return [
            one for one in self.candidates if all(self._cost(one, b) * slack[b.key] <= b.limit for b in fixed)
        ] or self.candidates[:1]

    def _measure_spread(self) -> None:
        """Measures a few networks of each architecture, up to what the budget may allow, and fits the
        model."""
        possible = self._possible()
        names = list(dict.fromkeys(one.architecture for one in possible))
        by_name = {name: [one for one in possible if one.architecture == name] for name in names}
        self.busy = warn_if_busy(self.place)
        say(f"timing networks in {self.place.describe()}")
        smallest = [each[0] for each in by_name.values()]
        self.watch.measure(smallest, turns=3)
        # A bound on what can be fast enough: small networks use a device less well than large ones.
        ratios = [
            b.limit / self.watch.times[one.name, b.size]["seconds"] * one.macs
            for one in smallest
            for b in self.times
            if b.size
        ]
        most = 4 * max(min(ratios), min(one.macs for one in smallest))
        points = []
        for each in by_name.values():
            inside = [one for one in each if one.macs <= most] or each[:1]
            points += [inside[len(inside) // 3], inside[2 * len(inside) // 3], inside[-1]]
        self.watch.measure(list(dict.fromkeys(points)))
        self._fit()

    def _check_runners(self) -> None:
        """Measures the best ones within the budgets, as many as are to race."""
        for _ in range(_ROUNDS):
            best = [row.candidate for row in self._rows() if row.excess <= 0][: self.runners]
            if all(one.name in self.watch.bytes for one in best):
                return
            self.watch.measure(best)
            self._fit()

    def _fit(self) -> None:
        if self.profile is not None:
            return
        known = {one.name: one for one in self.candidates}
        found = [
            Measured(known[name], width * height, facts["seconds"])
            for (name, (width, height)), facts in self.watch.times.items()
        ]
        self.latency = fit_latency(found) if found else None

    def _check_best(self) -> None:
        """Measures the best candidates that should be within the budgets, until the best one is."""
        for _ in range(_ROUNDS):
            rows = self._rows()
            best = next((r for r in rows if r.excess <= 0 and r.candidate.name in self.watch.bytes), None)
            hopeful = [
                row
                for row in rows
                if row.excess <= (_DOUBT if self.times else 0)
                and row.candidate.name not in self.watch.bytes
                and (best is None or row.quality > best.quality)
            ]
            if not hopeful:
                if best is None:
                    # Nothing should fit: the nearest is measured, so that the miss is no guess.
                    left = [r for r in rows if r.candidate.name not in self.watch.bytes]
                    self.watch.measure([r.candidate for r in sorted(left, key=lambda r: r.excess)[:2]])
                    self._fit()
                return
            self.watch.measure([row.candidate for row in hopeful[:_SHORTLIST]])
            self._fit()


def describe_miss(search: Search, budgets: Sequence[Budget]) -> str:
    """What the nearest candidate misses a budget by that none meets, in a sentence."""
    row = search.nearest
    budget, excess = worst(budgets, row.costs)
    over = f"{excess:.0%} over {budget.text}"
    if excess <= 0:
        over = f"less than {1 - MARGIN:.0%} below {budget.text}: measured again it may be over"
        if search.profiled:
            over = f"which is predicted, within the error of {budget.text}"
    return (
        f"no network meets {', '.join(b.text for b in budgets)}: the nearest is {row.candidate.name} with "
        f"{budget.describe(row.costs[budget.key])}, {over}"
    )


def check_found(search: Search, budgets: Sequence[Budget]) -> Row:
    """The chosen row.

    Raises:
        SrkdError: nothing meets the budgets; the nearest is named, and by how much it misses.
    """
    if search.chosen is None:
        first = "stop the programs that keep this machine busy, " if search.busy else ""
        raise SrkdError(
            f"{describe_miss(search, budgets)}; {first}raise the budget, or name another --runtime"
        )
    return search.chosen


def restore(saved: Mapping[str, Any]) -> Row:
    """A row from what `Row.to_json` gave."""
    candidate = Candidate(**saved["candidate"])
    return Row(candidate, saved["quality"], saved["costs"], saved["measured"], saved["excess"])
