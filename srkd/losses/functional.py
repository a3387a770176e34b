"""Loss functions of tensors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def charbonnier(a: Tensor, b: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt((a - b)^2 + epsilon^2), a smooth L1 (Lai et al. 2017, arXiv 1704.03915)."""
    return ((a - b).square() + epsilon**2).sqrt().mean()


def feature_l1(features: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """Mean over layers of L1 / mean |target|, so that layers of any magnitude count alike."""
    terms = [F.l1_loss(features[k], targets[k]) / (targets[k].abs().mean() + 1e-8) for k in targets]
    return torch.stack(terms).mean()


def cut_alike(sr: Tensor, real: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Cuts two batches alike, at the top and the left, by random numbers below `shift`. At least 32 pixels
    stay, which the trunks need."""
    shift = min(shift, *(side - 31 for side in sr.shape[-2:]))
    if shift <= 1:
        return sr, real
    # Training seeds torch in every step, so that a resumed run draws the same.
    top, left = (int(number) for number in torch.randint(shift, (2,)))
    return sr[..., top:, left:], real[..., top:, left:]


def grid_pattern(image: Tensor, period: int, window: int) -> Tensor:
    """The part of an image that repeats with a period: for each phase of the period the mean over a window,
    minus the mean over all phases.

    Args:
        image: `(N, C, H, W)`, H and W multiples of the period.
        period: in pixels.
        window: side of the windows, in periods.

    Returns:
        `(N, C, period^2, H / period - window + 1, W / period - window + 1)`, whose mean over the phases is 0.
    """
    phases = F.avg_pool2d(F.pixel_unshuffle(image, period), window, stride=1)
    phases = phases.unflatten(1, (image.shape[1], period**2))
    return phases - phases.mean(2, keepdim=True)


class Adversary(NamedTuple):
    """An adversarial loss: what the critic and what the generator minimise, from logits of real and fake."""

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """Half of BCE(real - mean fake -> 1) + BCE(fake - mean real -> 0)."""
    return (_bce(real - fake.mean(), 1.0) + _bce(fake - real.mean(), 0.0)) / 2


ADVERSARIES: dict[str, Adversary] = {
    # Goodfellow et al. 2014 (arXiv 1406.2661), the generator in its non-saturating form.
    "vanilla": Adversary(lambda r, f: _bce(r, 1.0) + _bce(f, 0.0), lambda r, f: _bce(f, 1.0)),
    # Mao et al. 2017 (arXiv 1611.04076).
    "least_squares": Adversary(
        lambda r, f: ((r - 1).square().mean() + f.square().mean()) / 2,
        lambda r, f: (f - 1).square().mean() / 2,
    ),
    # Lim & Ye 2017 (arXiv 1705.02894).
    "hinge": Adversary(lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), lambda r, f: -f.mean()),
    # Jolicoeur-Martineau 2018 (arXiv 1807.00734), averaged, as ESRGAN has it (Wang et al. 2018).
    "relativistic": Adversary(_relativistic, lambda r, f: _relativistic(f, r)),
}


def bernoulli_kl(target: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Mean KL(q || p) of two-class distributions, q = sigmoid(target / t) without gradient, p of `logits`.

    Deep Mutual Learning (Zhang et al. 2018, arXiv 1706.00384) for one logit; computed with logsigmoid, so
    saturated logits stay finite. Any equal shapes; scaled by neither weight nor t^2.
    """
    target, logits = target.detach() / temperature, logits / temperature
    q = target.sigmoid()
    on = F.logsigmoid(target) - F.logsigmoid(logits)
    off = F.logsigmoid(-target) - F.logsigmoid(-logits)
    return (q * on + (1 - q) * off).mean()
