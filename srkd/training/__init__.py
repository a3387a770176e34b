"""Training: one step for all strategies, and runs that resume exactly.

Importing this package imports no torch.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What a training run left behind.

    Args:
        folder: weights, `recipe.yaml`, `run.json`, `log.jsonl`, and checkpoints until the run is finished.
        weights: the generator's weights after each stage, by the stage's name (the first member's).
        psnr: the last validation PSNR of each stage in dB, `y-crop`.
    """

    folder: Path
    weights: dict[str, Path] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
