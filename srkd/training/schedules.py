"""The factor of each term at a step. Imports no torch but through the table of losses."""

import math

from srkd.config import Critic, Loss, Mutual, Stage
from srkd.losses import LOSSES


def loss_weights(stage: Stage, step: int) -> dict[str, float]:
    """The factors of a generator's losses, by name."""
    replaced = stage.losses.get("output") if stage.kd_replaces else None
    keep = 1 - _scheduled(replaced, _progress(stage, step)) if replaced else 1.0
    weights = {}
    for name, loss in stage.losses.items():
        against_hr = not LOSSES[name].distills
        weights[name] = _scheduled(loss, _progress(stage, step)) * (keep if against_hr else 1.0)
    return weights


def adversarial_weight(stage: Stage, critic: Critic, step: int) -> float:
    """The factor of a critic's adversarial loss on the generator."""
    return _scheduled(critic, _progress(stage, step)) * _ramp(critic, _progress(stage, step))


def r1_weight(critic: Critic, step: int) -> float:
    """The factor of a critic's gradient penalty: 0 between penalties, which are as much heavier."""
    return 0.0 if step % critic.r1_every else critic.r1 * critic.r1_every


def mutual_weight(stage: Stage, mutual: Mutual, step: int) -> float:
    """The factor of mutual distillation on each critic."""
    return mutual.weight * _ramp(mutual, _progress(stage, step))


def cosine_rate(start: float, final: float, step: int, steps: int) -> float:
    """A learning rate that falls from `start` to `final` along half a cosine."""
    share = (1 + math.cos(math.pi * step / steps)) / 2
    return final + (start - final) * share


def _progress(stage: Stage, step: int) -> float:
    return step / max(stage.steps - 1, 1)


def _ramp(term: Critic | Mutual, progress: float) -> float:
    return min(1.0, progress / term.ramp) if term.ramp > 0 else 1.0


def _scheduled(term: Loss | Critic, progress: float) -> float:
    if term.schedule == "constant":
        return term.weight
    share = 1 - progress if term.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return term.final + (term.weight - term.final) * share
