"""What a network of a size is worth: PSNR after training, from networks that this package trained.

The data is quality.json, by benchmarks/compress/sizes.py. Imports no torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

DATA = Path(__file__).with_name("quality.json")


class Size(Protocol):
    """What quality is predicted from; srkd.search.candidates.Candidate has it."""

    @property
    def architecture(self) -> str: ...
    @property
    def parameters(self) -> int: ...


# The data tells the exponents from 0.1 to 0.5 hardly apart.
EXPONENT = 0.2
_UNIT = 1e5


@dataclass(frozen=True)
class QualityModel:
    """dB over bicubic = a(architecture) - b (parameters / 100,000) ** -EXPONENT.

    Args:
        architectures: a by architecture, for long training.
        loss: b.
        residuals: of the networks that it was fitted to, in dB, by name.
    """

    architectures: Mapping[str, float]
    loss: float
    residuals: Mapping[str, float]

    def predict(self, network: Size) -> float:
        """Expected PSNR over bicubic's, in dB. Of an architecture that is not in the data, the mean of
        all."""
        own = self.architectures.get(network.architecture, float(np.mean(list(self.architectures.values()))))
        return own - self.loss * _shortage(network.parameters)

    @property
    def error(self) -> float:
        """The root mean square of the residuals, in dB."""
        return float(np.sqrt(np.mean(np.square(list(self.residuals.values())))))

    def describe(self) -> str:
        """What it comes from and how well it fits, in words."""
        largest = max(map(abs, self.residuals.values()))
        return (
            f"quality: fitted to {len(self.residuals)} networks that this package trained, off by "
            f"{self.error:.2f} dB (root mean square), at most {largest:.2f}; a difference below that says "
            f"little, "
            "--race would tell"
        )


@cache
def load_quality() -> QualityModel:
    """The model of the package's own networks."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    return fit_quality(data["rows"], data["bicubic"])


def fit_quality(rows: Sequence[Mapping[str, Any]], bicubic: float) -> QualityModel:
    """Fits the model; networks that were trained for different lengths have a level of their own.

    Args:
        rows: `architecture`, `parameters`, `psnr` and `group`, those trained alike.
        bicubic: its PSNR on the same photographs.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    names = list(dict.fromkeys(row["architecture"] for row in rows))
    matrix = np.array(
        [
            [float(row["group"] == group) for group in groups]
            + [float(row["architecture"] == name) for name in names[1:]]
            + [-_shortage(row["parameters"])]
            for row in rows
        ]
    )
    wanted = np.array([row["psnr"] for row in rows])
    found, *_ = np.linalg.lstsq(matrix, wanted, rcond=None)
    # The level of long training, where there is such a group: what a student may reach.
    level = found[groups.index("shipped")] if "shipped" in groups else found[0]
    kinds = [0.0, *found[len(groups) : len(groups) + len(names) - 1]]
    labels = [f"{row['architecture']} of {row['parameters']:,} parameters, {row['group']}" for row in rows]
    return QualityModel(
        {name: float(level + kind - bicubic) for name, kind in zip(names, kinds, strict=True)},
        float(found[-1]),
        {label: float(value) for label, value in zip(labels, wanted - matrix @ found, strict=True)},
    )


def _shortage(parameters: int) -> float:
    return (parameters / _UNIT) ** -EXPONENT
