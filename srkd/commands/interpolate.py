"""Weights between two others."""

from pathlib import Path
from typing import Any

from srkd.errors import UsageError
from srkd.files import name_by_hash
from srkd.terminal import console
from srkd.weights.catalogue import find_weights


def interpolate(
    first: str,
    second: str,
    *,
    alpha: float = 0.8,
    out: str = "interpolated.safetensors",
    overwrite: bool = False,
) -> Path:
    """Blend two generators' weights, to set how sharp and how faithful images are.

    Writes (1 - alpha) first + alpha second: ESRGAN's network interpolation (Wang et al. 2018, arXiv
    1809.00219, section 3.4) of PSNR-trained weights and what was fine-tuned from them. It takes from
    artefacts more than from detail, and needs no training. Networks trained apart do not blend.

    Args:
        first: weights of this package, or a shipped name; the PSNR-trained ones as a rule.
        second: weights of the same architecture and size; the GAN-trained ones.
        alpha: the second's share, 0 to 1.
        out: the file to write, a `.safetensors`. It keeps what is known of the second, and both names.
        overwrite: replace a file that exists.

    Returns:
        The file written.

    Raises:
        UsageError: no such weights, other architectures, alpha outside 0 to 1, or a file that exists.
    """
    if not 0 <= alpha <= 1:
        raise UsageError(f"--alpha is a share from 0 to 1, not {alpha:g}")
    target = Path(out)
    if target.suffix != ".safetensors":
        raise UsageError(f"--out {target} does not end in .safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; replace it with --overwrite, or choose another --out")
    from srkd.weights.store import load_generator, save_generator

    models: list[Any] = [load_generator(weights) for weights in (first, second)]
    for weights, model in zip((first, second), models, strict=True):
        if not hasattr(model, "config"):
            raise UsageError(f"{weights} holds weights of another package; interpolate takes those of srkd")
    if models[0].config != models[1].config:
        own, other = (model.config for model in models)
        keys = sorted({*own, *other}) if own["name"] == other["name"] else ["name"]
        differing = [key for key in keys if own.get(key) != other.get(key)]
        said = ", ".join(f"{key} {own.get(key)} and {other.get(key)}" for key in differing)
        raise UsageError(f"{first} and {second} are of different architectures: {said}")
    near, far = (model.state_dict() for model in models)
    for key, value in far.items():
        # Counters, of batch norm, stay the second's.
        if value.is_floating_point():
            value.copy_(near[key].lerp(value, alpha))
    known = {key: value for key, value in models[1].info.items() if key not in ("format", "kind", "psnr")}
    shares = {"alpha": alpha, "of": [name_by_hash(find_weights(weights)) for weights in (first, second)]}
    save_generator(models[1], target, **known, interpolation=shares)
    console.print(f"{1 - alpha:g} of {first}, {alpha:g} of {second} -> {target}", markup=False)
    return target
