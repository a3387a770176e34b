"""`srkd critic`: a discriminator for a teacher that has none."""

from pathlib import Path
from typing import Any, NamedTuple

from srkd.arguments import check_device, check_whole
from srkd.errors import UsageError, choose
from srkd.files import StrPath
from srkd.runtimes import Device
from srkd.terminal import Progress, reports, say


class FittedCritic(NamedTuple):
    """A fitted discriminator.

    Args:
        path: its weights.
        steps: taken.
        settled: whether its accuracy had stopped rising.
        accuracy: the share of crops of the held-out images that it told right; 0.5 is chance.
    """

    path: Path
    steps: int
    settled: bool
    accuracy: float


@reports
def critic(
    data: StrPath,
    teacher: StrPath,
    out: StrPath | None = None,
    *,
    discriminator: str = "vgg",
    discriminator_options: dict[str, Any] | None = None,
    scale: int = 4,
    val: StrPath | None = None,
    steps: int = 2000,
    rate: float = 2e-4,
    crop: int = 96,
    batch: int = 8,
    seed: int = 0,
    device: Device = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> FittedCritic:
    """Fit a discriminator to a teacher that has none, as the strategy gan2gan needs it.

    The teacher stays as it is. The discriminator learns to tell HR from the teacher's SR, until its accuracy
    no longer rises; the strategies then imitate it like one that was trained with the teacher.

    Args:
        data: in the forms of training data; the teacher's outputs are taken from a packed set that has them.
        teacher: weights of the teacher, in the forms of `srkd distill`.
        out: the file to write; `<teacher>_discriminator.safetensors` beside the teacher when not given, where
            the strategies find it.
        discriminator: the architecture: `vgg`, `unet` or `patch`.
        discriminator_options: its arguments; 32 channels when not given, as the students' have, which can
            then start as copies of it.
        scale: the super-resolution factor, 2, 3 or 4.
        val: as in training; its images measure the accuracy.
        steps: the most to take.
        rate: learning rate of Adam.
        crop: side of the HR crops, in pixels.
        batch: crops per step.
        seed: decides initial weights and crops.
        device: where to train: `cpu`, `mps`, `cuda`, `cuda:1`; `auto` is a GPU where there is one.
        threads: CPU threads; all cores when not given.
        overwrite: replace a discriminator that is there.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Raises:
        UsageError: no such data, teacher or discriminator, or a value out of range.
        SrkdError: a file is damaged or cannot be written.
    """
    _check(steps, rate, crop, batch, seed, scale)
    check_device(device)
    from srkd.weights.catalogue import find_weights

    path = find_weights(teacher)
    target = Path(out) if out is not None else path.with_name(f"{path.stem}_discriminator.safetensors")
    if target.suffix != ".safetensors":
        raise UsageError(f"{target} must end in .safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already; give another OUT, or --overwrite")
    import torch

    from srkd.data import open_data
    from srkd.files import hash_file, name_by_hash
    from srkd.models import create_discriminator
    from srkd.runtimes.torch import limit_threads, place_on
    from srkd.training.critic import Settings, fit_critic
    from srkd.training.teachers import load_teachers
    from srkd.upscaling.opening import best_device
    from srkd.weights.store import save_module

    torch.manual_seed(seed)
    network = create_discriminator(discriminator, **(discriminator_options or {"channels": 32}))
    images = open_data(data, scale, val, crop, teachers=[hash_file(path, 16)])
    stored = bool(images.train[0].targets)
    say(f"teacher: {name_by_hash(path)}" + (" (stored outputs)" if stored else ""))
    place = place_on(network, best_device() if device == "auto" else device)
    frozen = None if stored else load_teachers([path], None, None, scale, False)[0].to(place)
    with limit_threads(threads):
        fit = fit_critic(network, frozen, images, scale, Settings(steps, rate, crop, batch, seed), place)
    save_module(
        "discriminator", network, target, teacher=name_by_hash(path), steps=fit.steps, accuracy=fit.accuracy
    )
    say(f"{fit.steps} steps; tells {fit.accuracy:.1%} of held-out crops right (50 % is chance) -> {target}")
    return FittedCritic(target, fit.steps, fit.settled, fit.accuracy)


def _check(steps: int, rate: float, crop: int, batch: int, seed: int, scale: int) -> None:
    for name, value in (("steps", steps), ("crop", crop), ("batch", batch)):
        check_whole(name, value, 1)
    check_whole("seed", seed, 0, 2**63 - 1)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        raise UsageError(f"rate must be between 0 and 1, not {rate!r}")
    choose("scale", scale, (2, 3, 4))
