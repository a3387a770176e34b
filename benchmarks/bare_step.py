"""A training step of plain PyTorch, written by hand, for train_step.py to compare srkd's with."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from srkd import create_discriminator, create_generator
from srkd.config import Stage
from srkd.metrics.trunks import load_trunk

Step = Callable[[], object]

HALVES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Setting(NamedTuple):
    """Where, in which precision and with which generator steps are taken."""

    device: torch.device
    precision: str
    model: str

    def fabric(self) -> Fabric:
        return Fabric(accelerator=self.device.type, devices=1, precision=self.precision)  # type: ignore[arg-type]  # any text

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _Bare:
    """What both kinds of step share: the generator, its average, autocast, and a loss scaler."""

    def __init__(self, setting: Setting, stage: Stage, layout: torch.memory_format):
        torch.manual_seed(0)
        self.setting, self.ema, self.half = setting, stage.ema, HALVES.get(setting.precision)
        self.generator = create_generator(setting.model).to(setting.device).to(memory_format=layout).train()
        average = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizer = make_adam(self.generator, stage.rate)
        self.own, self.other = list(self.generator.parameters()), list(average.parameters())
        self.scaler = torch.amp.GradScaler(setting.device.type, enabled=self.half is torch.float16)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.setting.device.type, self.half, enabled=self.half is not None)

    def update(self, loss: Tensor, player: torch.optim.Optimizer) -> None:
        self.scaler.scale(loss).backward()
        self.scaler.step(player)
        player.zero_grad(set_to_none=True)

    def finish(self, loss: Tensor) -> None:
        self.update(loss, self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            torch._foreach_lerp_(self.other, self.own, 1 - self.ema)


def make_adam(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99), fused=True)


def make_bare_step(
    setting: Setting, stage: Stage, lr: Tensor, hr: Tensor, channels_last: bool = True
) -> Step:
    """The same step written by hand: autocast, fused Adam, averaged weights."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    lr, hr = (images.contiguous(memory_format=layout) for images in (lr, hr))
    bare = _Bare(setting, stage, layout)
    if stage.critics:
        return _make_gan_step(bare, stage, lr, hr, layout)

    def take() -> None:
        with bare.autocast():
            loss = F.l1_loss(bare.generator(lr), hr)
        bare.finish(loss)

    return take


def _make_gan_step(bare: _Bare, stage: Stage, lr: Tensor, hr: Tensor, layout: torch.memory_format) -> Step:
    device = bare.setting.device
    (spec,) = stage.critics.values()
    critic = create_discriminator(spec.name, **spec.options).to(device).to(memory_format=layout).train()
    optimizer = make_adam(critic, stage.rate)
    trunk = load_trunk("st-vgg", None).to(device)
    bce = nn.BCEWithLogitsLoss()

    def take() -> None:
        with bare.autocast():
            sr = bare.generator(lr)
            real, fake = critic(hr), critic(sr.detach())
            loss = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
        bare.update(loss, optimizer)
        critic.requires_grad_(False)
        with bare.autocast():
            with torch.no_grad():
                targets = trunk(hr)
            features = trunk(sr)
            content = [F.l1_loss(features[k], targets[k]) / targets[k].abs().mean() for k in targets]
            fake = critic(sr)
            loss = stage.losses["perceptual"].weight * torch.stack(content).mean()
            loss = loss + stage.losses["l1"].weight * F.l1_loss(sr, hr)
            loss = loss + spec.weight * bce(fake, torch.ones_like(fake))
        bare.finish(loss)
        critic.requires_grad_(True)

    return take
