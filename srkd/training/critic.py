"""A discriminator fitted to a frozen teacher that has none."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srkd.data import Crops, DataSet
from srkd.errors import SrkdError
from srkd.images.tensors import to_batch
from srkd.losses.functional import ADVERSARIES
from srkd.models.base import Discriminator
from srkd.terminal import note, progress
from srkd.training.optimizers import create_optimizer
from srkd.training.teachers import Teacher

# Accuracy is averaged over windows of this many steps, and has settled when the mean of the last two windows
# is no more than this above that of the two before. It may stay at chance for a while before it rises.
WINDOW, SETTLED, CHANCE = 100, 0.005, 0.6


@dataclass(frozen=True)
class Settings:
    """How a discriminator is fitted.

    Args:
        steps: the most to take.
        rate: Adam's learning rate.
        crop: side of the HR crops, in pixels.
        batch: crops per step.
        seed: decides the crops.
    """

    steps: int
    rate: float
    crop: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Fit:
    """What a fit came to.

    Args:
        steps: taken.
        settled: whether the accuracy had stopped rising by then.
        accuracy: the share of crops of the validation images that the discriminator told right, of HR and of
            the teacher's SR alike; 0.5 is chance.
    """

    steps: int
    settled: bool
    accuracy: float


def fit_critic(
    discriminator: Discriminator,
    teacher: Teacher | None,
    data: DataSet,
    scale: int,
    settings: Settings,
    device: torch.device,
) -> Fit:
    """Trains a discriminator, in place, to tell HR from a frozen teacher's SR, with the loss of SRGAN's
    (Ledig et al. 2017, eq. 2), until its accuracy settles.

    Args:
        discriminator: what to train.
        teacher: None where `data` holds its outputs.
        data: what to train on, and the images that measure the accuracy.
        scale: the super-resolution factor.
        settings: how.
        device: where.

    Raises:
        SrkdError: the loss is not finite.
    """
    stored, crop, batch = teacher is None, settings.crop, settings.batch
    crops = Crops(data.train, crop, batch, scale, [settings.seed], targets=stored)
    # Before the first step: an image smaller than a crop is refused here.
    held = Crops(data.val, crop, batch, scale, [settings.seed, 1], targets=stored)
    discriminator.to(device).to(memory_format=torch.channels_last).train().requires_grad_(True)
    groups = [{"params": list(discriminator.parameters()), "lr": settings.rate}]
    optimizer = create_optimizer("adam", groups, device)
    right: list[float] = []
    with progress("fitting the discriminator", settings.steps) as advance:
        for step, found in enumerate(crops.stream(0, settings.steps), start=1):
            # Real and fake pass separately: batch normalisation must not mix them.
            real, fake = (discriminator(image) for image in _images(found, teacher, device))
            loss = ADVERSARIES["vanilla"].critic(real, fake)
            if not bool(loss.isfinite()):
                raise SrkdError(f"the discriminator's loss is not finite at step {step}; lower --rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            right.append(_accuracy(real, fake))
            advance(1, f"accuracy {_mean(right[-WINDOW:]):.3f}")
            if has_settled(right):
                break
    settled = has_settled(right)
    if not settled:
        state = "still rising" if _mean(right[-WINDOW:]) > CHANCE else "no better than chance"
        note(f"accuracy is {state} after {settings.steps} steps; raise --steps")
    # On a copy: looking must not change the running statistics.
    network = copy.deepcopy(discriminator)
    with torch.no_grad():
        verdicts = [
            _accuracy(*map(network, _images(held(step), teacher, device)))
            for step in range(math.ceil(4 * len(data.val) / batch))
        ]
    return Fit(len(right), settled, _mean(verdicts))


def has_settled(accuracies: list[float]) -> bool:
    """Whether the accuracies of the steps so far have stopped rising; looked at once a window."""
    if len(accuracies) < 4 * WINDOW or len(accuracies) % WINDOW:
        return False
    before, after = accuracies[-4 * WINDOW : -2 * WINDOW], accuracies[-2 * WINDOW :]
    return _mean(after) > CHANCE and _mean(after) - _mean(before) < SETTLED


def _images(found: Any, teacher: Teacher | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """HR and the teacher's SR of a batch of crops."""
    hr = to_batch(found.hr, device)
    fake = to_batch(found.targets[0], device) if teacher is None else teacher(to_batch(found.lr, device))
    return hr, fake.float()


def _accuracy(real: Tensor, fake: Tensor) -> float:
    return float(torch.cat([(real > 0).float().flatten(), (fake < 0).float().flatten()]).mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
