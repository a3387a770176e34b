"""How long a network takes on a device, predicted from a few that were measured there. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize import nnls


class Costs(Protocol):
    """What a time is predicted from; srkd.search.candidates.Candidate has it."""

    @property
    def architecture(self) -> str: ...
    @property
    def layers(self) -> int: ...
    @property
    def macs(self) -> float: ...
    @property
    def traffic(self) -> float: ...


class Measured(NamedTuple):
    """A network's time on a device.

    Args:
        network: which.
        pixels: of the LR image.
        seconds: the median over turns.
    """

    network: Costs
    pixels: int
    seconds: float


@dataclass(frozen=True)
class LatencyModel:
    """Seconds = a layers + b macs + c traffic, with numbers of its own for each architecture, none below 0.

    Args:
        factors: a, b and c by architecture; under "" those of all together, for others.
        errors: the relative error of each measurement, when it was left out of the fit where there are enough
            others of its architecture.
    """

    factors: Mapping[str, tuple[float, float, float]]
    errors: tuple[float, ...]

    def predict(self, network: Costs, pixels: int) -> float:
        """Seconds for an LR image of so many pixels."""
        return float(
            np.dot(_features(network, pixels), self.factors.get(network.architecture, self.factors[""]))
        )

    @property
    def error(self) -> float:
        """The median relative error."""
        return float(np.median(np.abs(self.errors)))

    def describe(self) -> str:
        """How well it fits, in words."""
        return f"off by {self.error:.0%} in the middle, at most {max(map(abs, self.errors)):.0%}"


def fit_latency(measured: Sequence[Measured]) -> LatencyModel:
    """Fits the model, each measurement's relative error weighing alike."""
    factors, errors = {"": _fit(measured)}, []
    for name in dict.fromkeys(m.network.architecture for m in measured):
        own = [m for m in measured if m.network.architecture == name]
        factors[name] = _fit(own)
        for left_out in own:
            others = [m for m in own if m is not left_out]
            used = _fit(others) if len(others) > 1 else factors[name]
            predicted = np.dot(_features(left_out.network, left_out.pixels), used)
            errors.append(float(predicted / left_out.seconds - 1))
    return LatencyModel(factors, tuple(errors))


def _fit(measured: Sequence[Measured]) -> tuple[float, float, float]:
    rows = np.array([_features(m.network, m.pixels) / m.seconds for m in measured])
    # Columns of one size, so that the solver's tolerance means the same for each.
    sizes = np.maximum(rows.max(0), 1e-30)
    found, _ = nnls(rows / sizes, np.ones(len(rows)))
    a, b, c = (float(value) for value in found / sizes)
    return a, b, c


def _features(network: Costs, pixels: int) -> np.ndarray:
    return np.array([network.layers, network.macs * pixels, network.traffic * pixels], float)


def describe_error(predicted: float, found: float) -> dict[str, Any]:
    """A prediction beside what was measured."""
    return {"predicted": predicted, "measured": found, "error": predicted / found - 1}
