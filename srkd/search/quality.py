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
    @property
    def layers(self) -> int: ...


@dataclass(frozen=True)
class QualityModel:
    """dB over the smallest network = a(architecture) + b log2 parameters + c log2 layers.

    Args:
        architectures: a by architecture.
        parameters, layers: b and c.
        base: subtracted, so that bicubic is about 0.
        residuals: of the networks that it was fitted to, in dB, by name.
    """

    architectures: Mapping[str, float]
    parameters: float
    layers: float
    base: float
    residuals: Mapping[str, float]

    def predict(self, network: Size) -> float:
        """Expected PSNR over bicubic's, in dB. Of an architecture that is not in the data, the mean of all.
        Expected PSNR over bicubic's, in dB. Of an architecture that is not in the data, the mean of all."""
        own = self.architectures.get(network.architecture, float(np.mean(list(self.architectures.values()))))
        grown = self.parameters * np.log2(network.parameters) + self.layers * np.log2(network.layers)
        return float(own + grown - self.base)

    @property
    def error(self) -> float:
        """The root mean square of the residuals, in dB."""
        return float(np.sqrt(np.mean(np.square(list(self.residuals.values())))))


@cache
def load_quality() -> QualityModel:
    """The model of the package's own networks."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    return fit_quality(data["rows"], data["bicubic"])


def fit_quality(rows: Sequence[Mapping[str, Any]], bicubic: float) -> QualityModel:
    """Fits the model; networks that were trained for different lengths have a level of their own.

    Args:
        rows: `architecture`, `parameters`, `layers`, `psnr` and `group`, those trained alike.
        bicubic: its PSNR on the same photographs.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    names = list(dict.fromkeys(row["architecture"] for row in rows))
    matrix, wanted = [], []
    for row in rows:
        level = [float(row["group"] == group) for group in groups]
        kind = [float(row["architecture"] == name) for name in names[1:]]
        matrix.append([*level, *kind, np.log2(row["parameters"]), np.log2(row["layers"])])
        wanted.append(row["psnr"])
    found, *_ = np.linalg.lstsq(np.array(matrix), np.array(wanted), rcond=None)
    residuals = np.array(wanted) - np.array(matrix) @ found
    # The level of long training, where there is such a group: what a student may reach.
    level = found[groups.index("shipped")] if "shipped" in groups else found[0]
    kinds = [0.0, *found[len(groups) : len(groups) + len(names) - 1]]
    labels = [f"{row['architecture']} of {row['parameters']:,} parameters, {row['group']}" for row in rows]
    return QualityModel(
        {name: float(level + kind) for name, kind in zip(names, kinds, strict=True)},
        float(found[-2]),
        float(found[-1]),
        bicubic,
        {label: float(value) for label, value in zip(labels, residuals, strict=True)},
    )
