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


def make_bare_step(
    setting: Setting, stage: Stage, lr: Tensor, hr: Tensor, channels_last: bool = True
) -> Step:
    """The same step written by hand: autocast, fused Adam, averaged weights."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    lr, hr = (images.contiguous(memory_format=layout) for images in (lr, hr))
    generator = create_generator(setting.model).to(setting.device).to(memory_format=layout).train()
    average = copy.deepcopy(generator).requires_grad_(False)
    optimizer = torch.optim.Adam(generator.parameters(), lr=stage.rate, betas=(0.9, 0.99), fused=True)
    own, other = list(generator.parameters()), list(average.parameters())
    half = HALVES.get(setting.precision)
    scaler = torch.amp.GradScaler(setting.device.type, enabled=half is torch.float16)

    def autocast() -> torch.autocast:
        return torch.autocast(setting.device.type, half, enabled=half is not None)

    def update(loss: Tensor, player: torch.optim.Optimizer) -> None:
        scaler.scale(loss).backward()
        scaler.step(player)
        player.zero_grad(set_to_none=True)

    def finish(loss: Tensor) -> None:
        update(loss, optimizer)
        scaler.update()
        with torch.no_grad():
            torch._foreach_lerp_(other, own, 1 - stage.ema)

    if not stage.critics:

        def take() -> None:
            with autocast():
                loss = F.l1_loss(generator(lr), hr)
            finish(loss)

        return take

    (critic_spec,) = stage.critics.values()
    critic = create_discriminator(critic_spec.name, **critic_spec.options).to(setting.device)
    critic = critic.to(memory_format=layout).train()
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=stage.rate, betas=(0.9, 0.99), fused=True)
    trunk = load_trunk("st-vgg", None).to(setting.device)
    bce = nn.BCEWithLogitsLoss()

    def take_gan() -> None:
        with autocast():
            sr = generator(lr)
            real, fake = critic(hr), critic(sr.detach())
            loss = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
        update(loss, critic_optimizer)
        critic.requires_grad_(False)
        with autocast():
            with torch.no_grad():
                targets = trunk(hr)
            features = trunk(sr)
            content = [F.l1_loss(features[k], targets[k]) / targets[k].abs().mean() for k in targets]
            fake = critic(sr)
            loss = stage.losses["perceptual"].weight * torch.stack(content).mean()
            loss = loss + stage.losses["l1"].weight * F.l1_loss(sr, hr)
            loss = loss + critic_spec.weight * bce(fake, torch.ones_like(fake))
        finish(loss)
        critic.requires_grad_(True)

    return take_gan
