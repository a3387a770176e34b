"""Training: one step for all strategies, and runs that resume exactly.

Importing this package imports no torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Run:
    """What a training run left behind.

    Args:
        folder: weights, `recipe.yaml`, `run.json`, `log.jsonl`, and in `checkpoints` its last ones, of a
            finished run the last one.
        weights: the generator's weights after each stage, by the stage's name (the first member's).
        psnr: the last validation PSNR of each stage in dB, `y-crop`.
    """

    folder: Path
    weights: dict[str, Path] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)


class TeacherCost(NamedTuple):
    """What the teachers of a stage cost.

    Args:
        seconds: of each step, where they run live.
        storing_hours: for storing their outputs once, by `srkd prepare`; None where stored outputs would not
            do.
    """

    seconds: float
    storing_hours: float | None


class StageCost(NamedTuple):
    """What a stage would take.

    Args:
        parameters: of all generators and discriminators.
        steps: of the stage.
        seconds_per_step: measured, validation apart.
        teraflops_per_step: floating-point operations of a step over all processes, in 10^12.
        hours: of the whole stage.
        teacher: what the teachers take of it; None where none runs.
        state_bytes: of a checkpoint.
        weights_bytes: of the weights that the stage leaves.
    """

    parameters: int
    steps: int
    seconds_per_step: float
    teraflops_per_step: float
    hours: float
    teacher: TeacherCost | None
    state_bytes: int
    weights_bytes: int
