"""`srkd interpolate`: weights between two others."""

from pathlib import Path
from typing import Any

from srkd.errors import UsageError
from srkd.files import StrPath, describe_value, name_by_hash
from srkd.terminal import Progress, reports, say
from srkd.weights.catalogue import find_weights


@reports
def interpolate(
    first: StrPath,
    second: StrPath,
    *,
    alpha: float = 0.8,
    out: StrPath = "interpolated.safetensors",
    overwrite: bool = False,
    verbose: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Blend two generators' weights, to trade fidelity for sharpness.

    Writes (1 - alpha) first + alpha second: ESRGAN's network interpolation (Wang et al. 2018, arXiv
    1809.00219, section 3.4) between PSNR-trained weights and weights fine-tuned from them. It reduces
    artefacts more than detail, and needs no training. Networks trained independently do not blend.

    Args:
        first: weights of this package, or a shipped name; usually PSNR-trained.
        second: weights of the same architecture and size; usually GAN-trained, from the first.
        alpha: the second's share, from 0 to 1.
        out: the `.safetensors` file to write. It keeps the second's recorded facts, and both names.
        overwrite: replace an existing file.
        verbose: print what is done.
        progress: called as progress(description, done, total) while it works.

    Returns:
        The file written.

    Raises:
        UsageError: no such weights, weights of another package, different architectures, alpha outside 0 to
            1, or a file that exists.
    """
    from srkd.weights.store import blend, load_own_generator, save_generator

    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
        raise UsageError(f"--alpha is a share from 0 to 1, not {describe_value(alpha)}")
    target = Path(out)
    if target.suffix != ".safetensors":
        raise UsageError(f"--out {target} does not end in .safetensors")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; replace it with --overwrite, or choose another --out")
    near, far = load_own_generator(first), load_own_generator(second)
    check_same_config(near.config, far.config, first, second)
    blend(near, far, alpha)
    known = {key: value for key, value in far.info.items() if key not in ("format", "kind", "psnr")}
    shares = {"alpha": alpha, "of": [name_by_hash(find_weights(weights)) for weights in (first, second)]}
    save_generator(far, target, **{**known, "interpolation": shares})
    say(f"{1 - alpha:g} of {first}, {alpha:g} of {second} -> {target}")
    return target


def check_same_config(
    near: dict[str, Any] | None, far: dict[str, Any] | None, first: StrPath, second: StrPath
) -> None:
    """Raises UsageError unless two generators, named for the message, have the same configuration."""
    if near != far:
        differing = _differences(near or {}, far or {})
        raise UsageError(f"{first} and {second} have different architectures: {differing}")


def _differences(own: dict[str, Any], other: dict[str, Any]) -> str:
    """What differs between two configurations: the names alone where the names do."""
    keys = sorted({*own, *other}) if own["name"] == other["name"] else ["name"]
    differing = [key for key in keys if own.get(key) != other.get(key)]
    return ", ".join(f"{key} {own.get(key)} and {other.get(key)}" for key in differing)
